"""`mlsuperb score RUN_OR_JSONL`: score hypotheses again, in seconds, without torch.

The output of any program can be scored: one JSON object per line with "id", "language" (the right one), "reference" and
"hypothesis"; where languages were recognised, "predicted_language", too.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from mlsuperb import tasks
from mlsuperb.commands.settings import add_config_dir, bring_own
from mlsuperb.data.text import NORMALISERS
from mlsuperb.runs.classes import bring, class_named
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE, read_hypotheses, tokens_of
from mlsuperb.runtime.console import Console
from mlsuperb.runtime.files import write_atomic
from mlsuperb.runtime.records import strict_json
from mlsuperb.scoring import protocols
from mlsuperb.scoring.comparison.run_facts import above_cap
from mlsuperb.scoring.examples import show_examples
from mlsuperb.scoring.score import Scoring
from mlsuperb.scoring.table import SYNTHETIC, protocol_tables, tell
from mlsuperb.scoring.utterances import language_tokens, refuse_words, unknown_units
from mlsuperb.tasks.base import Units
from mlsuperb.types import Hypothesis, TaskFacts

_BEGINNING = re.compile(r"\s*(\[[^\[\]\s]+\])")


def facts_of(folder: Path, hypotheses: Sequence[Hypothesis], asked: Mapping[str, Any]) -> tuple[TaskFacts, bool, int]:
    """How the hypotheses in a folder are to be scored, whether they are of synthetic data, and how many parameters were
    trained (0 where that is not known).

    A run's folder says it itself (`result.json`, else `config.yaml`). Of other files the task is inferred.

    Args:
        asked: `task`, `normaliser` and `units` that are to be used instead; None where nothing else was asked for.
    """
    from mlsuperb.runs import store
    from mlsuperb.scoring.result import SCORED

    facts, synthetic, num_trained = infer_task(hypotheses), False, 0
    if (folder / store.RESULT_FILE).is_file():
        result = store.read(folder, *SCORED)
        facts, synthetic, num_trained = result.facts, result.synthetic, result.num_trainable
    elif (folder / store.CONFIG_FILE).is_file():
        config = store.read_config(folder)
        synthetic = config.get("data", {}).get("name") == "synthetic"
        facts = _configured(config.get("task"), folder) if None in asked.values() else facts
    return overruled(facts, asked), synthetic, num_trained


def overruled(facts: TaskFacts, asked: Mapping[str, Any]) -> TaskFacts:
    """Facts of a task with what was `asked` for instead (`facts_of`)."""
    given = {name: value for name, value in asked.items() if name != "task" and value is not None}
    task = tasks.known().get(asked["task"] or facts.name)
    if task is not None and (asked["task"] or given):
        facts = task(**{"normaliser": facts.normaliser, "units": facts.units} | given).facts
    return replace(facts, **given)


def infer_task(hypotheses: Sequence[Hypothesis]) -> TaskFacts:
    """ASR if no hypothesis names a language, LID if nothing but languages is there, else both; normaliser v1, characters."""
    tokens = language_tokens(hypotheses)
    languages = [tokens.first(one.hypothesis) for one in hypotheses]
    has_language = any(languages)
    has_text = not has_language or any(
        one.hypothesis.strip() not in ("", f"[{language}]") for one, language in zip(hypotheses, languages, strict=True)
    )
    known = tasks.known().values()
    return next(one().facts for one in known if (one.has_text, one.has_language) == (has_text, has_language))


def _unknown_tokens(hypotheses: Sequence[Hypothesis]) -> str:
    """A remark where hypotheses begin with what looks like a language token and is none; else an empty string."""
    tokens = language_tokens(hypotheses)
    begun = [_BEGINNING.match(tokens.removed_at_start(one.hypothesis)) for one in hypotheses]
    if not (found := [match.group(1) for match in begun if match]):
        return ""
    return (
        f"{len(found):,} hypotheses begin with {found[0]} or the like, which is the language of no reference, and is taken for "
        "text. If it is a language, give its code as predicted_language."
    )


def _configured(node: Any, folder: Path) -> TaskFacts:
    """The facts of a task in a configuration: its class says whether it has text and language."""
    try:
        task = class_named(node["_target_"]) if "_target_" in node else tasks.known()[node["name"]]
        facts: TaskFacts = task(normaliser=node["normaliser"], units=node["units"]).facts
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / 'config.yaml'} does not say task.name, task.normaliser and task.units of a known task ({error!r}); give "
            "--task, --normaliser and --units"
        ) from error
    return facts


def main(arguments: Sequence[str]) -> None:
    """Score, print the tables, and write JSON where it was asked for."""
    options = _parser().parse_args(arguments)
    bring_own(options)
    bring(options.protocol or ())
    source: Path = options.source
    path = source / HYPOTHESES_FILE if source.is_dir() else source
    hypotheses = read_hypotheses(path, of_others=not source.is_dir())
    whole_run = source.is_dir() or source.name == HYPOTHESES_FILE
    asked = {name: getattr(options, name) for name in ("task", "normaliser", "units")}
    facts, synthetic, num_trained = facts_of(path.parent if whole_run else path, hypotheses, asked)
    refuse_words(hypotheses, facts)
    scored = Scoring(**({"protocols": options.protocol} if options.protocol else {})).score(hypotheses, facts)
    used = {"task": facts.name, "normaliser": facts.normaliser, "units": facts.units}
    console = Console()
    settings = ", ".join(f"{name} {value}" for name, value in used.items())
    tell(console, f"{path}: {len(hypotheses):,} hypotheses; {settings}")
    if remark := above_cap(num_trained):
        tell(console, f"trained parameters{remark}, the limit of ML-SUPERB 2.0")
    tokens = tokens_of(path.parent) if whole_run else None
    tell(console, *filter(None, [_unknown_tokens(hypotheses), unknown_units(hypotheses, facts, tokens)]))
    if synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    for cells in protocol_tables(scored):
        console.print(cells.to_rich())
    for name, reason in scored.not_applicable.items():
        tell(console, f"Protocol {name} was left out: {reason}.")
    if options.examples:
        colour = console.is_terminal and not console.no_color
        console.print(show_examples(hypotheses, facts, options.examples, colour=colour), soft_wrap=True)
    if options.json:
        head = {"hypotheses": str(path), "synthetic": synthetic, **used}
        whole = {**head, "protocols": scored.model_dump(exclude_unset=True)}
        write_atomic(options.json, [strict_json(whole, name=str(options.json), indent=2), "\n"])
    if options.protocol and scored.not_applicable:
        raise ValueError(
            f"{', '.join(scored.not_applicable)} was asked for, but does not apply to task {facts.name}; is it another task "
            "(--task asr_lid)?"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="RUN_OR_JSONL", help="folder of a run, or a file of hypotheses")
    protocol: Any = parser.add_argument(
        "--protocol",
        action="append",
        help=f"{', '.join(protocols.names())}, or the address of another; repeatable (default: all that apply)",
    )
    protocol.suggestions = protocols.names()  # for shell completion
    parser.add_argument("--task", choices=tasks.names(), help="default: what the run says, else inferred")
    parser.add_argument("--normaliser", choices=tuple(NORMALISERS), help="default: what the run says, else v1")
    parser.add_argument("--units", choices=get_args(Units), help="default: what the run says, else char")
    parser.add_argument("--examples", type=int, choices=(1, 2, 3), help="show so many utterances, errors marked")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file")
    add_config_dir(parser)
    return parser
