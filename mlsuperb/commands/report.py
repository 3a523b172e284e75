"""`mlsuperb report RUN [RUN...]`: one page of a finished run, or of several side by side.

A folder of runs stands for those in it that have finished.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from tqdm import tqdm

from mlsuperb.runs.identity import NOT_SCIENCE
from mlsuperb.runtime.files import write_atomic

REPORT, FIGURES = "report.html", "figures"
MAX_AUDIO = 20


def write_report(
    folders: Sequence[Path], *, out: Path | None = None, split: str = "test", max_audio: int = MAX_AUDIO
) -> Path:
    """Write the page and, in a folder beside it (`figures_folder`), every figure as SVG, PNG and CSV.

    Args:
        folders: of finished runs (`finished_runs`).
        out: the page (default: `report.html` in the folder of the run; of several runs, in the current folder).
        split: whose utterances.
        max_audio: utterances with audio.

    Raises:
        ValueError: no finished run, no hypothesis of the split, `max_audio` below 0.
        OSError: something cannot be written.
    """
    if max_audio < 0:
        raise ValueError(f"--max-audio is {max_audio}; give 0 for a page without audio, or more")
    from mlsuperb.analysis.report.loaded import load_run
    from mlsuperb.analysis.report.one_run import one_run_page
    from mlsuperb.analysis.report.page import render
    from mlsuperb.analysis.report.several import several_runs_page

    single = len(folders) == 1
    runs = [load_run(folder, split=split, with_sound=single, progress=_bar) for folder in folders]
    page = (
        one_run_page(runs[0], max_audio=max_audio)
        if single
        else several_runs_page(runs, max_audio=max_audio, hidden=NOT_SCIENCE)
    )
    out = out or (folders[0] / REPORT if single else Path(REPORT))
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = figures_folder(out)
    for chart in page.charts:
        chart.save(figures)
    write_atomic(out, [render(page, figures=figures.name)])
    return out


def figures_folder(out: Path) -> Path:
    """Beside the page: `figures` of report.html, `NAME_figures` of another, so that two pages of a folder keep theirs."""
    return out.with_name(FIGURES if out.name == REPORT else f"{out.stem}_{FIGURES}")


def _bar(rows: Iterable[Any], number: int) -> Any:
    return tqdm(rows, total=number, desc="measure audio", unit="utt", disable=number < 200)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="mlsuperb report", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run, or of runs")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: RUN/report.html; of several runs, report.html"
    )
    parser.add_argument("--split", default="test", help="split whose utterances are looked at (default: test)")
    parser.add_argument(
        "--max-audio", type=int, default=MAX_AUDIO, metavar="N", help=f"utterances with audio (default: {MAX_AUDIO})"
    )
    options = parser.parse_args(arguments)
    from mlsuperb.runs.store import finished_runs

    console = Console()
    try:
        runs, unfinished = finished_runs(options.runs)
        for folder in unfinished:
            console.print(f"not in the report, since it has no result: {folder}", highlight=False, soft_wrap=True)
        path = write_report(runs, out=options.out, split=options.split, max_audio=options.max_audio)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    console.print(f"Written to {path} ({path.stat().st_size / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
    console.print(f"Its figures as SVG, PNG and CSV: {figures_folder(path)}", highlight=False, soft_wrap=True)
