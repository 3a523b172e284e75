"""`mlsuperb table RUNS...`: finished runs side by side, one row each, or by groups of languages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlsuperb.runs.identity import NOT_SCIENCE
from mlsuperb.runtime.files import write_atomic
from mlsuperb.scoring.comparison.groups import groups_table
from mlsuperb.scoring.comparison.language_facts import GROUPINGS, By
from mlsuperb.scoring.comparison.runs import FACTS, Fact, runs_table
from mlsuperb.scoring.comparison.seeds import Seeds
from mlsuperb.scoring.comparison.selection import LEARNING_RATE, choose_on_dev, dev_figure, value_of
from mlsuperb.scoring.result import RESULT_FILE, read_result
from mlsuperb.scoring.table import SYNTHETIC, Cells, table_console


def show_runs(
    folders: Sequence[Path],
    *,
    split: str = "test",
    file: Path | None = None,
    facts: Sequence[Fact] = (),
    seeds: Seeds = "each",
    best: str | None = None,
    by: By | None = None,
) -> None:
    """Print the table of the finished runs among `folders` (and write it to `file` as markdown), and name the others. A
    folder of runs stands for those in it that have finished. Synthetic and real data have a table each.

    Args:
        facts, seeds: see `runs_table`.
        best: path of a setting; of runs that differ in it, the one that is best on the dev set.
        by: rows are groups of languages or datasets instead of runs.

    Raises:
        ValueError: none has finished, or none has the split.
    """
    results, notes = _read(folders)
    if best is not None:
        selection = choose_on_dev(results, hidden=NOT_SCIENCE, setting=best)
        results = selection.chosen
        notes += [_passed_over(one, best) for one in selection.others]
    console = table_console()
    pages = []
    for synthetic in (False, True):
        kind = [one for one in results if one["synthetic"] is synthetic]
        if not kind:
            continue
        notes += _other_data(kind, split)
        cells: Cells = (
            groups_table(kind, by=by, hidden=NOT_SCIENCE, split=split)
            if by
            else runs_table(kind, hidden=NOT_SCIENCE, split=split, facts=facts, seeds=seeds)
        )
        console.print(cells.to_rich())
        if synthetic:
            console.print(SYNTHETIC, style="bold yellow")
        pages.append((f"**{SYNTHETIC}**\n\n" if synthetic else "") + cells.to_markdown())
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    if file is not None:
        write_atomic(file, ["\n".join([*pages, *(f"- {note}" for note in notes)])])
        console.print(f"Written to {file}", highlight=False, soft_wrap=True)


def _read(folders: Sequence[Path]) -> tuple[Sequence[Mapping[str, Any]], list[str]]:
    """Results, and a note on each run without one."""
    from mlsuperb.runs.store import finished_runs

    finished, unfinished = finished_runs(folders)
    notes = [f"not in the table, since it has no result: {folder}" for folder in unfinished]
    return [read_result(folder / RESULT_FILE) for folder in finished], notes


def _passed_over(result: Mapping[str, Any], setting: str) -> str:
    figure = result["config"]["trainer"].get("select_by", "valid_loss")
    value = value_of(result["config"], setting)
    return f"passed over on the dev set: {result['run_id']} ({setting}={value}, {figure} {dev_figure(result):.4g})"


def _other_data(results: Sequence[Mapping[str, Any]], split: str) -> list[str]:
    """A word where rows are not of the same test utterances."""
    hashes = {one["data"].get("splits", {}).get(split, {}).get("sha256") for one in results}
    if len(hashes) < 2:
        return []
    return [
        f"the {len(results)} runs were tested on {len(hashes)} different sets ({split}): their scores are not comparable"
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="mlsuperb table", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run, or of runs")
    parser.add_argument("--split", default="test", help="split whose scores are shown (default: test)")
    parser.add_argument("--show", default="", metavar="FACTS", help=f"further columns, of {','.join(FACTS)}")
    parser.add_argument("--over-seeds", action="store_true", help="runs that differ in their seed only: mean ± SD")
    parser.add_argument("--best", metavar="SETTING", help=f"keep the best on dev of a setting, such as {LEARNING_RATE}")
    parser.add_argument("--by", choices=GROUPINGS, help="rows are groups of utterances, columns are runs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as markdown, too")
    options = parser.parse_args(arguments)
    try:
        if options.by and (options.show or options.over_seeds):
            raise ValueError("--by makes rows of groups, which --show and --over-seeds have no place in; leave one out")
        show_runs(
            options.runs,
            split=options.split,
            file=options.out,
            facts=_facts(options.show),
            seeds="mean" if options.over_seeds else "each",
            best=options.best,
            by=options.by,
        )
    except (ValueError, OSError) as error:
        sys.exit(str(error))


def _facts(given: str) -> list[Fact]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    if unknown := [name for name in names if name not in FACTS]:
        raise ValueError(f"--show has no {', '.join(unknown)}; choose from {', '.join(FACTS)}")
    return [fact for fact in FACTS if fact in names]
