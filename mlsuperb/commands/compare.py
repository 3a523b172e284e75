"""`mlsuperb compare RUN_A RUN_B`: where two runs differ, how sure that is, and on which utterances."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.runs.identity import NOT_SCIENCE
from mlsuperb.runtime.files import strict_json, write_atomic
from mlsuperb.scoring.comparison.language_facts import GROUPINGS, By
from mlsuperb.scoring.comparison.paired import (
    PairedRow,
    PairedUtterance,
    largest_differences,
    pair_utterances,
    paired_rows,
)
from mlsuperb.scoring.comparison.paired_view import LEGEND, paired_cells, to_json, utterance_lines, verdict
from mlsuperb.scoring.comparison.runs import differences
from mlsuperb.scoring.result import RESULT_FILE, comparable, read_result, scoring_settings
from mlsuperb.scoring.table import SYNTHETIC, Cells, table_console
from mlsuperb.types import Hypothesis

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs with what was found."""

    first: Mapping[str, Any]
    second: Mapping[str, Any]
    split: str
    by: By
    rows: Sequence[PairedRow]
    different: Sequence[PairedUtterance]

    @property
    def scoring(self) -> dict[str, Any]:
        """Task, normaliser and units, the same in both."""
        one = self.first
        return {"task": one["task"]["name"], "normaliser": one["normaliser"]["name"], "units": one["task"]["units"]}


def compare_runs(
    first: Path, second: Path, *, split: str = "test", by: By = "language", num_examples: int = 5
) -> Comparison:
    """Read and compare two finished runs.

    Raises:
        ValueError: a folder holds no finished run, the results are not comparable, or none has the split.
    """
    results = [read_result(folder / RESULT_FILE) for folder in (first, second)]
    if reasons := comparable(*results):
        raise ValueError(f"{first} and {second} cannot be compared: {'; '.join(reasons)}")
    hypotheses = (_hypotheses(*one, split) for one in zip((first, second), results, strict=True))
    pairs = pair_utterances(*hypotheses, **scoring_settings(results[0]))
    return Comparison(
        first=results[0],
        second=results[1],
        split=split,
        by=by,
        rows=paired_rows(pairs, by=by, confidence=CONFIDENCE),
        different=largest_differences(pairs, n=num_examples),
    )


def _hypotheses(folder: Path, result: Mapping[str, Any], split: str) -> list[Hypothesis]:
    everything = read_hypotheses(folder / result["hypotheses"]["path"])
    found = [one for one in everything if one.split == split]
    if not found:
        known = ", ".join(sorted({one.split for one in everything}))
        raise ValueError(f"{folder} has no hypotheses of split {split!r}; it has {known}")
    return found


def table(found: Comparison) -> Cells:
    """The table of a comparison."""
    title = f"{found.split}, pooled over the utterances of each {'row' if found.by == 'language' else found.by} (protocol v1)"
    scoring = found.scoring
    return paired_cells(found.rows, by=found.by, task=scoring["task"], units=scoring["units"], title=title)


def legend(found: Comparison) -> list[str]:
    """Which runs A and B are, and in what they differ."""
    runs = (found.first, found.second)
    settings = differences([run["config"] for run in runs], hidden=NOT_SCIENCE)
    lines = []
    for index, (name, run) in enumerate(zip("AB", runs, strict=True)):
        own = ", ".join(f"{path}={values[index]}" for path, values in settings.items() if values[index])
        lines.append(f"{name}: {run['run_id']}{f' ({own})' if own else ''}")
    return lines


def examples(found: Comparison) -> list[str]:
    """The utterances that differ most, one block each."""
    if not found.different:
        same = all(row.first == row.second for row in found.rows)
        return ["Both runs have the same counts in every row."] if same else []
    blocks = ["\n".join(utterance_lines(pair, **found.scoring)) for pair in found.different]
    return [f"Utterances that differ most ({LEGEND}):", *blocks]


def markdown(found: Comparison) -> str:
    """Everything, for a file."""
    head = [f"**{SYNTHETIC}**"] if found.first["synthetic"] else []
    body = [*(f"- {line}" for line in legend(found)), "", table(found).to_markdown()]
    note = verdict(found.rows, task=found.scoring["task"], confidence=CONFIDENCE)
    shown = examples(found)
    blocks = [*shown[:1], *(f"```text\n{block}\n```" for block in shown[1:])]
    return "\n".join([*head, *([""] if head else []), *body, f"\\{note}", *(f"\n{block}" for block in blocks)]) + "\n"


def show(found: Comparison, console: Console | None = None) -> None:
    """Print it."""
    console = console or table_console()
    for line in legend(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(table(found).to_rich())
    if found.first["synthetic"]:
        console.print(SYNTHETIC, style="bold yellow")
    note = verdict(found.rows, task=found.scoring["task"], confidence=CONFIDENCE)
    for text in (note, *examples(found)):
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="mlsuperb compare", description=__doc__)
    parser.add_argument("first", type=Path, metavar="RUN_A", help="folder of a finished run")
    parser.add_argument("second", type=Path, metavar="RUN_B", help="folder of another; differences are B - A")
    parser.add_argument("--split", default="test", help="split that is compared (default: test)")
    parser.add_argument("--by", choices=GROUPINGS, default="language", help="what a row is (default: language)")
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="utterances that are shown (default: 5)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything as markdown, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything with its counts as JSON, too")
    options = parser.parse_args(arguments)
    try:
        if options.examples < 0:
            raise ValueError(f"--examples is {options.examples}; give 0 or more")
        found = compare_runs(
            options.first, options.second, split=options.split, by=options.by, num_examples=options.examples
        )
        show(found)
        if options.out:
            write_atomic(options.out, [markdown(found)])
        if options.json:
            runs = {name: run["run_id"] for name, run in (("first", found.first), ("second", found.second))}
            whole = {**runs, "synthetic": found.first["synthetic"], "split": found.split, "by": found.by}
            whole |= {"confidence": CONFIDENCE, **found.scoring, **to_json(found.rows, found.different)}
            write_atomic(options.json, [strict_json(whole, name=str(options.json), indent=2), "\n"])
    except (ValueError, OSError) as error:
        sys.exit(str(error))
