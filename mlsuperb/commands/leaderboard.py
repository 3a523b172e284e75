"""`mlsuperb leaderboard RUNS...`: SUPERB_s of finished runs, beside the published rows.

One row a system (upstream, adaptation, settings); it needs every run of the board, for ML-SUPERB 1.0 the 13 monolingual runs
and multi_asr, lid, asr_lid. What is missing, or may not stand beside the others, is listed with the reason.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mlsuperb.runtime.files import write_atomic
from mlsuperb.scoring.boards import formats
from mlsuperb.scoring.boards.beside import check
from mlsuperb.scoring.boards.entries import LeftOut
from mlsuperb.scoring.boards.facts import FACTS, facts_of
from mlsuperb.scoring.boards.leaderboard import Leaderboard, leaderboard
from mlsuperb.scoring.boards.superb_s import board_named, boards
from mlsuperb.scoring.result import RESULT_FILE, read_result
from mlsuperb.scoring.table import table_console

STATUS_FILE, EVALUATIONS = "status.json", "evaluations"
FORMATS: dict[str, Callable[[Leaderboard], str]] = {
    "md": formats.to_markdown,
    "csv": formats.to_csv,
    "latex": formats.to_latex,
    "html": formats.to_html,
}
TOLERANCE = 3.0  # points: seeds, library versions and mixed precision move a column by about one


def read_runs(folders: Sequence[Path]) -> tuple[list[tuple[str, dict[str, Any]]], list[LeftOut]]:
    """(folder, result) of every finished run in `folders`, however deep, and the other runs with the reason.

    Raises:
        ValueError: there is no such folder.
    """
    if absent := [str(folder) for folder in folders if not folder.is_dir()]:
        raise ValueError(f"there is no folder {', '.join(absent)}; give folders of runs, such as exp")
    from mlsuperb.runs.store import why_unfinished

    results, left_out = [], []
    for folder in dict.fromkeys(run for one in folders for run in _run_folders(one)):
        if folder.parent.name == EVALUATIONS:
            left_out.append(
                LeftOut(place=str(folder), reason="an evaluation of a trained run on data it was given later")
            )
        elif (folder / RESULT_FILE).is_file():
            try:
                results.append((str(folder), read_result(folder / RESULT_FILE)))
            except ValueError as error:
                left_out.append(LeftOut(place=str(folder), reason=str(error)))
        else:
            left_out.append(LeftOut(place=str(folder), reason=str(why_unfinished(folder))))
    return results, left_out


def _run_folders(folder: Path) -> Iterator[Path]:
    """Folders of runs and of their evaluations, in alphabetical order. What else a run holds is not looked through."""
    for name, folders, files in os.walk(folder):
        folders.sort()
        if RESULT_FILE in files or STATUS_FILE in files:
            yield Path(name)
            folders[:] = [one for one in folders if one == EVALUATIONS]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    options = _parser().parse_args(arguments)
    try:
        passed = _run(options)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    if not passed:
        sys.exit(1)


def _run(options: argparse.Namespace) -> bool:
    """Show the table; whether the check, if one was asked for, has passed."""
    board = board_named(options.board)
    size = board.check_size(options.size)
    results, left_out = read_runs(options.runs)
    found = leaderboard(results, board=board, size=size, left_out=left_out, facts=facts_of(_names(options.show)))
    if options.format is None:
        formats.show(found, table_console())
    text = FORMATS[options.format or "md"](found)
    if options.out is not None:
        write_atomic(options.out, [text])
        Console().print(f"Written to {options.out}", highlight=False, soft_wrap=True)
    elif options.format is not None:
        sys.stdout.write(text)
    if not options.check:
        return True
    lines, passed = check(found.rows, board=board, size=size, tolerance=options.tolerance)
    report = Console(stderr=options.format is not None)
    for line in [f"Check against published rows: {'passed' if passed else 'FAILED'}", *lines]:
        report.print(line, highlight=False, markup=False, soft_wrap=True)
    return passed


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in FACTS]:
        raise ValueError(f"--show has no {', '.join(unknown)}; choose from {', '.join(FACTS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb leaderboard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUNS", help="folders of runs; none: published rows alone"
    )
    parser.add_argument("--board", default="2024", help=f"{', '.join(boards())} (default: 2024)")
    parser.add_argument("--size", help="10min or 1h (default: the board's first)")
    parser.add_argument("--format", choices=tuple(FORMATS), help="default: a table on the terminal")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to a file (without --format: markdown)")
    parser.add_argument("--show", default="", metavar="NAMES", help=f"further columns: {','.join(FACTS)}")
    parser.add_argument("--check", action="store_true", help="exit 1 where a column is far from what was published")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help=f"of --check, in points (default: {TOLERANCE:g})"
    )
    return parser
