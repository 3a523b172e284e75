"""`python -m mlsuperb.table RUNS...`: finished runs side by side, one row each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mlsuperb.experiment import NOT_SCIENCE
from mlsuperb.files import write_atomic
from mlsuperb.scoring.comparison import runs_table
from mlsuperb.scoring.result import read_result
from mlsuperb.scoring.table import SYNTHETIC

RESULT_FILE = "result.json"


PIPE_WIDTH = 200  # columns of a table that no terminal bounds


def show_runs(folders: Sequence[Path], *, split: str = "test", file: Path | None = None) -> None:
    """Print the table of the finished runs among `folders` (and write it to `file` as markdown), and name the others. A
    folder of runs stands for those in it that have finished.

    Raises:
        ValueError: none has finished, or none has the split.
    """
    finished = [path.parent for folder in folders for path in _results(folder)]
    if not finished:
        raise ValueError(
            f"no finished run in {', '.join(map(str, folders))}: give folders that hold a {RESULT_FILE}, or the folder "
            "that they are in"
        )
    results = [read_result(folder / RESULT_FILE) for folder in finished]
    table = runs_table(results, hidden=NOT_SCIENCE, split=split)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    console.print(table.to_rich())
    synthetic = any(result["synthetic"] for result in results)
    if synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    for folder in folders:
        if not _results(folder):
            console.print(f"not in the table, since it has no result: {folder}", highlight=False, soft_wrap=True)
    if file is not None:
        write_atomic(file, [f"**{SYNTHETIC}**\n\n" if synthetic else "", table.to_markdown()])
        console.print(f"Written to {file}", highlight=False, soft_wrap=True)


def _results(folder: Path) -> list[Path]:
    own = folder / RESULT_FILE
    return [own] if own.is_file() else sorted(folder.glob(f"*/{RESULT_FILE}"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m mlsuperb.table", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run, or of runs")
    parser.add_argument("--split", default="test", help="split whose scores are shown (default: test)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as markdown, too")
    options = parser.parse_args(arguments)
    try:
        show_runs(options.runs, split=options.split, file=options.out)
    except (ValueError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
