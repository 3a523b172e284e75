"""`mlsuperb score RUN_OR_JSONL`: score hypotheses again, in seconds, without torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from mlsuperb import tasks
from mlsuperb.data.text import NORMALISERS, first_language
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE, read_hypotheses
from mlsuperb.runtime.files import strict_json, write_atomic
from mlsuperb.scoring import protocols
from mlsuperb.scoring.comparison.run_facts import above_cap
from mlsuperb.scoring.examples import show_examples
from mlsuperb.scoring.score import Scoring
from mlsuperb.scoring.table import SYNTHETIC, protocol_tables, tell
from mlsuperb.types import Hypothesis, TaskFacts


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
    given = {name: value for name, value in asked.items() if name != "task" and value is not None}
    task = tasks.known().get(asked["task"] or facts.name)
    if task is not None and (asked["task"] or given):
        facts = task(**{"normaliser": facts.normaliser, "units": facts.units} | given).facts
    return replace(facts, **given), synthetic, num_trained


def infer_task(hypotheses: Sequence[Hypothesis]) -> TaskFacts:
    """ASR if no hypothesis names a language, LID if nothing but languages is there, else both; normaliser v1, characters."""
    languages = [first_language(one.hypothesis) for one in hypotheses]
    has_language = any(languages)
    has_text = not has_language or any(
        one.hypothesis.strip() not in ("", f"[{language}]") for one, language in zip(hypotheses, languages, strict=True)
    )
    known = tasks.known().values()
    return next(one().facts for one in known if (one.has_text, one.has_language) == (has_text, has_language))


def _configured(node: Any, folder: Path) -> TaskFacts:
    """The facts of a task in a configuration: its class says whether it has text and language."""
    try:
        module, _, name = str(node.get("_target_", "")).rpartition(".")
        task = getattr(import_module(module), name) if module else tasks.known()[node["name"]]
        facts: TaskFacts = task(normaliser=node["normaliser"], units=node["units"]).facts
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / 'config.yaml'} does not say task.name, task.normaliser and task.units of a known task ({error!r}); give "
            "--task, --normaliser and --units"
        ) from error
    return facts


def main(arguments: Sequence[str]) -> None:
    """Score, print the tables, and write JSON where it was asked for."""
    options = _parser().parse_args(arguments)
    source: Path = options.source
    path = source / HYPOTHESES_FILE if source.is_dir() else source
    hypotheses = read_hypotheses(path)
    whole_run = source.is_dir() or source.name == HYPOTHESES_FILE
    asked = {name: getattr(options, name) for name in ("task", "normaliser", "units")}
    facts, synthetic, num_trained = facts_of(path.parent if whole_run else path, hypotheses, asked)
    scored = Scoring(**({"protocols": options.protocol} if options.protocol else {})).score(hypotheses, facts)
    used = {"task": facts.name, "normaliser": facts.normaliser, "units": facts.units}
    console = Console()
    settings = ", ".join(f"{name} {value}" for name, value in used.items())
    tell(console, f"{path}: {len(hypotheses):,} hypotheses; {settings}")
    if remark := above_cap(num_trained):
        tell(console, f"trained parameters{remark}, the limit of ML-SUPERB 2.0")
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
        whole = {
            "hypotheses": str(path),
            "synthetic": synthetic,
            **used,
            "protocols": scored.model_dump(exclude_unset=True),
        }
        write_atomic(options.json, [strict_json(whole, name=str(options.json), indent=2), "\n"])
    if options.protocol and scored.not_applicable:
        raise ValueError(
            f"{', '.join(scored.not_applicable)} was asked for, but does not apply to task {facts.name}; is it another task "
            "(--task asr_lid)?"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlsuperb score", description=__doc__)
    parser.add_argument("source", type=Path, metavar="RUN_OR_JSONL", help="folder of a run, or its hypotheses.jsonl")
    protocol: Any = parser.add_argument(
        "--protocol",
        action="append",
        help=f"{', '.join(protocols.names())}, or the address of another; repeatable (default: all that apply)",
    )
    protocol.suggestions = protocols.names()  # for shell completion
    parser.add_argument("--task", choices=tasks.names(), help="default: what the run says, else inferred")
    parser.add_argument("--normaliser", choices=tuple(NORMALISERS), help="default: what the run says, else v1")
    parser.add_argument("--units", choices=("char", "phoneme"), help="default: what the run says, else char")
    parser.add_argument("--examples", type=int, choices=(1, 2, 3), help="show so many utterances, errors marked")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file")
    return parser
