"""`mlsuperb table RUNS...`: finished runs side by side, one row each, or by groups of languages.

Runs of job=pretrain have a table of their own; no option changes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.runtime.files import write_atomic
from mlsuperb.scoring.comparison.groups import groups_table
from mlsuperb.scoring.comparison.language_facts import GROUPINGS, By
from mlsuperb.scoring.comparison.run_facts import FACTS, chosen_facts
from mlsuperb.scoring.comparison.runs import runs_table
from mlsuperb.scoring.comparison.selection import LEARNING_RATE, choose_on_dev, dev_figure, value_of
from mlsuperb.scoring.escaping import markdown
from mlsuperb.scoring.table import SYNTHETIC, Cells, rates, table_console, tell

if TYPE_CHECKING:
    from mlsuperb.pretraining.records import PretrainingResult
    from mlsuperb.runs.result import Result
    from mlsuperb.runs.store import Found
    from mlsuperb.runtime.console import Console
    from mlsuperb.scoring.result import BenchmarkResult


def show_runs(
    folders: Sequence[Path],
    *,
    split: str = "test",
    file: Path | None = None,
    best: str | None = None,
    by: By | None = None,
    intervals: bool = False,
    **columns: Any,
) -> None:
    """Print the table of the finished runs in `folders` (and write it to `file` as markdown), and name the others. Synthetic
    and real data have a table each, and so has pre-training.

    Args:
        best: path of a setting; of runs that differ in it, the one that is best on the dev set.
        by: rows are groups of languages or datasets instead of runs.
        intervals: show pooled rates with their bootstrap intervals.
        columns: see `runs_table`.

    Raises:
        ValueError: none has finished, or none has the split.
    """
    from mlsuperb.pretraining.records import PretrainingResult
    from mlsuperb.runs import store
    from mlsuperb.scoring.result import SCORED, BenchmarkResult

    found: Found[Result] = store.find(folders, *SCORED, PretrainingResult).required()
    trained = {folder: one for folder, one in found.runs.items() if isinstance(one, PretrainingResult)}
    results, passed_over = _chosen([one for one in found.runs.values() if isinstance(one, BenchmarkResult)], best)
    notes = [*_left_out(found.left_out), *passed_over]
    further = partial(_intervals, found.runs, split=split) if intervals else None
    tables = list(_benchmark_tables(results, split=split, by=by, further=further, **columns))
    tables += _pretraining_tables(trained)
    console = table_console()
    pages = [_show(console, cells, warning=warning) for cells, warning in tables]
    if file is not None:
        write_atomic(file, ["\n".join([*pages, *(f"- {markdown(note)}" for note in notes)])])
        notes.append(f"Written to {file}")
    tell(console, *notes)


def _benchmark_tables(
    results: Sequence[BenchmarkResult],
    *,
    split: str,
    by: By | None,
    further: Callable[[Sequence[BenchmarkResult]], dict[str, list[str]]] | None,
    **columns: Any,
) -> Iterator[tuple[Cells, str]]:
    """One of real and one of synthetic data, where there are any, each with its warning; `further` makes more columns."""
    for kind in _kinds(results):
        warning = " ".join([*([SYNTHETIC] if kind[0].synthetic else []), *_other_data(kind, split)])
        if by is not None:
            yield groups_table(kind, by=by, split=split), warning
        else:
            yield runs_table(kind, split=split, further=further(kind) if further else None, **columns), warning


def _intervals(
    folders: Mapping[Path, Result], results: Sequence[BenchmarkResult], *, split: str
) -> dict[str, list[str]]:
    """Column -> for each result, the rate over all test utterances and its bootstrap interval; empty where it has none."""
    from mlsuperb.analysis.runs import load_run
    from mlsuperb.scoring.comparison.bootstrap import rate_interval

    folder_of = {id(result): folder for folder, result in folders.items()}
    columns: dict[str, list[str]] = {}
    for row, result in enumerate(results):
        run = load_run(folder_of[id(result)], split=split, result=result)
        for rate, name, arrow in rates(result.facts):
            texts = columns.setdefault(f"pooled {name} (95 %) {arrow}", [""] * len(results))
            if found := rate_interval(run.counts, of=rate):
                texts[row] = f"{found.value:.1f} ({found.low:.1f} to {found.high:.1f})"
    return columns


def _show(console: Console, cells: Cells, *, warning: str) -> str:
    """Print a table; returns it as markdown."""
    console.print(cells.to_rich())
    if warning:
        console.print(warning, style="bold yellow")
    return (f"**{warning}**\n\n" if warning else "") + cells.to_markdown()


def _pretraining_tables(trained: Mapping[Path, PretrainingResult]) -> Iterator[tuple[Cells, str]]:
    """One of real speech and one of other speech, where there are any, each with its warning."""
    from mlsuperb.analysis import pretraining_table as tables

    ordered = tables.in_order(trained).values()
    for synthetic in sorted({bool(one.data["synthetic"]) for one in ordered}):
        rows = [(one.run_id, one) for one in ordered if one.data["synthetic"] == synthetic]
        yield tables.pretraining_table(rows), tables.SYNTHETIC if synthetic else ""


def _kinds(results: Sequence[BenchmarkResult]) -> Iterator[Sequence[BenchmarkResult]]:
    """Those of real and those of synthetic data, where there are any."""
    kinds = ([one for one in results if one.synthetic is synthetic] for synthetic in (False, True))
    return (kind for kind in kinds if kind)


def _chosen(results: Sequence[BenchmarkResult], best: str | None) -> tuple[Sequence[BenchmarkResult], list[str]]:
    """The results that stay, and a word on each that does not."""
    if best is None or not results:
        return results, []
    selection, notes = choose_on_dev(results, setting=best), []
    for one in selection.others:
        setting = f"{best}={value_of(one.config, best)}"
        figure = f"{one.config['trainer'].get('select_by', 'valid_loss')} {dev_figure(one):.4g}"
        notes.append(f"passed over on the dev set: {one.run_id} ({setting}, {figure})")
    return selection.chosen, notes


def _other_data(results: Sequence[BenchmarkResult], split: str) -> Iterable[str]:
    """A word where rows are not of the same test utterances."""
    if (number := len({one.data.sha256(split) for one in results})) > 1:
        yield f"The {len(results)} runs were tested on {number} different sets ({split}): their scores are not comparable."


def _left_out(folders: Mapping[Path, str]) -> Iterator[str]:
    """A line for each folder without a result; those with the same reason share one."""
    reasons: dict[str, list[Path]] = {}
    for folder, why in folders.items():
        reasons.setdefault(why, []).append(folder)
    for why, those in reasons.items():
        yield f"not in the table: {' '.join(map(str, those))}: {why}"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="mlsuperb table", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run, or of runs")
    parser.add_argument("--split", default="test", help="split whose scores are shown (default: test)")
    parser.add_argument("--protocol", help="protocol whose scores are shown (default: the newest that all runs have)")
    parser.add_argument("--show", default="", metavar="FACTS", help=f"further columns, of {','.join(FACTS)}")
    parser.add_argument(
        "--intervals", action="store_true", help="pooled rates with 95 %% bootstrap intervals over utterances"
    )
    parser.add_argument("--over-seeds", action="store_true", help="runs that differ in their seed only: mean ± SD")
    parser.add_argument("--best", metavar="SETTING", help=f"keep the best on dev of a setting, such as {LEARNING_RATE}")
    parser.add_argument("--by", choices=GROUPINGS, help="rows are groups of utterances, columns are runs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as markdown, too")
    options = parser.parse_args(arguments)
    if options.by and (options.show or options.over_seeds or options.protocol or options.intervals):
        raise ValueError(
            "--by makes rows of groups, which --show, --intervals, --over-seeds and --protocol do not apply to; leave one out"
        )
    columns: dict[str, Any] = {"facts": chosen_facts(options.show), "seeds": "mean" if options.over_seeds else "each"}
    columns |= {"protocol": options.protocol, "best": options.best, "by": options.by, "intervals": options.intervals}
    show_runs(options.runs, split=options.split, file=options.out, **columns)
