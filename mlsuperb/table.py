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


def show_runs(folders: Sequence[Path], *, split: str = "test", file: Path | None = None) -> None:
    """Print the table of the finished runs among `folders` (and write it to `file` as markdown), and name the others.

    Raises:
        ValueError: none has finished.
    """
    finished = [folder for folder in folders if (folder / RESULT_FILE).is_file()]
    results = [read_result(folder / RESULT_FILE) for folder in finished]
    table = runs_table(results, hidden=NOT_SCIENCE, split=split)
    console = Console()
    console.print(table.to_rich())
    synthetic = any(result["synthetic"] for result in results)
    if synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    for folder in folders:
        if folder not in finished:
            console.print(f"not in the table, since it has no result: {folder}", highlight=False, soft_wrap=True)
    if file is not None:
        write_atomic(file, [f"**{SYNTHETIC}**\n\n" if synthetic else "", table.to_markdown()])
        console.print(f"Written to {file}", highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m mlsuperb.table", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--split", default="test", help="split whose scores are shown (default: test)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as markdown, too")
    options = parser.parse_args(arguments)
    try:
        show_runs(options.runs, split=options.split, file=options.out)
    except (ValueError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
