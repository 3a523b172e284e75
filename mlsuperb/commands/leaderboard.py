"""`mlsuperb leaderboard RUNS...`: finished runs beside the published rows of a board, with SUPERB_s.

One row per system (upstream, adaptation, settings). A row needs every run of the board: for ML-SUPERB 1.0 the 13 monolingual
runs, multi_asr, lid and asr_lid. Missing runs, and runs that are not comparable with the others, are listed with the reason.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

TOLERANCE = 3.0  # points: seeds, library versions and mixed precision change a column by about one


def main(arguments: Sequence[str]) -> int:
    """Show the board; exit status 1 if a check was asked for and has not passed."""
    options = _parser().parse_args(arguments)
    from mlsuperb.runs.store import find
    from mlsuperb.runtime.console import Console
    from mlsuperb.runtime.files import write_atomic
    from mlsuperb.scoring.boards.beside import check
    from mlsuperb.scoring.boards.facts import facts_of_rows
    from mlsuperb.scoring.boards.formats import FORMATS, show
    from mlsuperb.scoring.boards.leaderboard import leaderboard
    from mlsuperb.scoring.boards.superb_s import board_named
    from mlsuperb.scoring.result import BenchmarkResult
    from mlsuperb.scoring.table import table_console, tell

    board = board_named(options.board)
    size = board.check_size(options.size)
    facts = facts_of_rows(options.show)
    runs = find(options.runs, BenchmarkResult)
    found = leaderboard(runs.runs, board=board, size=size, left_out=runs.left_out, facts=facts)
    if options.format is None:
        show(found, table_console())
    text = FORMATS[options.format or "md"](found)
    if options.out is not None:
        write_atomic(options.out, [text])
        tell(Console(), f"Written to {options.out}")
    elif options.format is not None:
        sys.stdout.write(text)
    if not options.check:
        return 0
    lines, passed = check(found.rows, board=board, size=size, tolerance=options.tolerance)
    report = Console(stderr=options.format is not None)
    tell(report, f"Check against published rows: {'passed' if passed else 'FAILED'}", *lines)
    return 0 if passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb leaderboard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("runs", nargs="*", type=Path, metavar="RUNS", help="folders of runs; without any: the published rows alone")
    add("--board", default="2024", help="2024 (default), 2023, peft_study or challenge")
    add("--size", help="10min or 1h (default: the first size of the board)")
    add("--format", choices=("md", "csv", "latex", "html", "json"), help="default: tables on the terminal")
    add("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    add("--out", type=Path, metavar="FILE", help="write to a file (without --format: markdown)")
    add("--show", default="", metavar="NAMES", help="further columns: params,memory,hours,macs,overlap")
    add("--check", action="store_true", help="exit with 1 where a column is far from the published value")
    add("--tolerance", type=float, default=TOLERANCE, help=f"of --check, in points (default: {TOLERANCE:g})")
    return parser
