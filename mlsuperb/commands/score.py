"""`mlsuperb score RUN_OR_JSONL`: score hypotheses again, in seconds, without torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from mlsuperb.data.text import NORMALISERS, first_language
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE, read_hypotheses
from mlsuperb.runtime.files import strict_json, write_atomic
from mlsuperb.scoring.comparison.run_facts import above_cap
from mlsuperb.scoring.examples import show_examples
from mlsuperb.scoring.result import RESULT_FILE, read_result, scoring_settings
from mlsuperb.scoring.score import NOT_APPLICABLE, PROTOCOLS, score
from mlsuperb.scoring.table import SYNTHETIC, protocol_tables
from mlsuperb.types import Hypothesis

CONFIG_FILE = "config.yaml"


def settings_of(source: Path, hypotheses: Sequence[Hypothesis]) -> dict[str, Any]:
    """How `source` is to be scored: `task`, `normaliser`, `units`, `synthetic`.

    A run folder says it itself (`result.json`, else `config.yaml`), also of the `hypotheses.jsonl` in it. Of a bare file
    the task is inferred: `asr` if no hypothesis names a language, `lid` if nothing but languages is there, else `asr_lid`;
    `v1` and `char` are assumed.
    """
    source = source.parent if source.name == HYPOTHESES_FILE else source
    if (source / RESULT_FILE).is_file():
        result = read_result(source / RESULT_FILE)
        return scoring_settings(result) | {"synthetic": result["synthetic"]}
    if (source / CONFIG_FILE).is_file():
        return _from_config(source / CONFIG_FILE)
    return {"task": infer_task(hypotheses), "normaliser": "v1", "units": "char", "synthetic": False}


def _num_trained(source: Path) -> int:
    """Of a finished run; 0 where it is not known."""
    path = (source if source.is_dir() else source.parent) / RESULT_FILE
    return int(read_result(path)["num_trainable"]) if path.is_file() else 0


def infer_task(hypotheses: Sequence[Hypothesis]) -> str:
    """See `settings_of`."""
    languages = [first_language(one.hypothesis) for one in hypotheses]
    if not any(languages):
        return "asr"
    only_languages = all(
        one.hypothesis.strip() in ("", f"[{language}]") for one, language in zip(hypotheses, languages, strict=True)
    )
    return "lid" if only_languages else "asr_lid"


def _from_config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        task = config["task"]
        return {
            "task": task["name"],
            "normaliser": task["normaliser"],
            "units": task["units"],
            "synthetic": config.get("data", {}).get("name") == "synthetic",
        }
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} does not say task.name, task.normaliser and task.units ({error}); give --task, --normaliser and "
            f"--units with the file {HYPOTHESES_FILE} instead of the folder"
        ) from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except (ValueError, OSError) as error:
        sys.exit(str(error))


def _run(options: argparse.Namespace) -> None:
    source: Path = options.source
    path = source / HYPOTHESES_FILE if source.is_dir() else source
    hypotheses = read_hypotheses(path)
    settings = settings_of(source, hypotheses)
    given = {name: getattr(options, name) for name in ("task", "normaliser", "units")}
    settings |= {name: value for name, value in given.items() if value is not None}
    synthetic = settings.pop("synthetic")
    protocols = score(hypotheses, protocols=options.protocol or PROTOCOLS, **settings)
    console = Console()
    used = ", ".join(f"{name} {settings[name]}" for name in given)
    console.print(f"{path}: {len(hypotheses):,} hypotheses; {used}", markup=False)
    if remark := above_cap(_num_trained(source)):
        console.print(f"trained parameters{remark}, the limit of ML-SUPERB 2.0", markup=False)
    if synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    for cells in protocol_tables(protocols):
        console.print(cells.to_rich())
    for name, reason in protocols[NOT_APPLICABLE].items():
        console.print(f"Protocol {name} was left out: {reason}.")
    if options.examples:
        colour = console.is_terminal and not console.no_color
        console.print(show_examples(hypotheses, options.examples, colour=colour, **settings), soft_wrap=True)
    if options.json:
        whole = {"hypotheses": str(path), "synthetic": synthetic, **settings, "protocols": protocols}
        write_atomic(options.json, [strict_json(whole, name=str(options.json), indent=2), "\n"])
    if options.protocol and protocols[NOT_APPLICABLE]:
        raise ValueError(
            f"{', '.join(protocols[NOT_APPLICABLE])} was asked for, but does not apply to task {settings['task']}; is it "
            "another task (--task asr_lid)?"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlsuperb score", description=__doc__)
    parser.add_argument("source", type=Path, metavar="RUN_OR_JSONL", help="folder of a run, or its hypotheses.jsonl")
    parser.add_argument("--protocol", action="append", choices=PROTOCOLS, help="repeatable (default: all that apply)")
    parser.add_argument("--task", choices=("asr", "lid", "asr_lid"), help="default: what the run says, else inferred")
    parser.add_argument("--normaliser", choices=tuple(NORMALISERS), help="default: what the run says, else v1")
    parser.add_argument("--units", choices=("char", "phoneme"), help="default: what the run says, else char")
    parser.add_argument("--examples", type=int, choices=(1, 2, 3), help="show so many utterances, errors marked")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file")
    return parser
