"""From finished runs to a page, and from a page to one HTML file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlsuperb.analysis.chart import Chart
from mlsuperb.analysis.report.blocks import Page
from mlsuperb.analysis.report.one_run import one_run_page
from mlsuperb.analysis.report.pretraining import pretraining_page
from mlsuperb.analysis.report.several import several_runs_page
from mlsuperb.analysis.report.sound import SoundBox, audio_roots
from mlsuperb.analysis.runs import load_run
from mlsuperb.runs.result import Result
from mlsuperb.runtime.files import made, write_atomic
from mlsuperb.scoring.page import html
from mlsuperb.scoring.result import BenchmarkResult

REPORT, FIGURES = "report.html", "figures"
SEVERAL = Path("exp/reports")  # for pages of several runs


def write_report(
    runs: Mapping[Path, BenchmarkResult],
    *,
    out: Path | None = None,
    split: str = "test",
    max_audio: int = 20,
    audio_from: Sequence[Path] = (),
    progress: Callable[[Any, int], Any] = lambda rows, number: rows,
) -> Path:
    """Write the page and, in a folder beside it (`figures_folder`), every figure as SVG, PNG and CSV.

    Args:
        out: the page (default: `report_file`).
        split: whose utterances.
        max_audio: number of utterances with audio.
        audio_from: folders from which audio may come, beside those of the runs' own data.
        progress: wraps measurements of audio as they come, given their number.

    Raises:
        ValueError: no hypothesis of the split, `max_audio` below 0.
        OSError: something cannot be written.
    """
    if max_audio < 0:
        raise ValueError(f"--max-audio is {max_audio}; give 0 for a page without audio, or more")
    single = len(runs) == 1
    loaded = [
        load_run(folder, split=split, result=result, with_sound=single, progress=progress)
        for folder, result in runs.items()
    ]
    own = [root for run in loaded for root in audio_roots(run.result.config.get("data", {}))]
    sounds = SoundBox(max_num=max_audio, roots=[*own, *audio_from])
    page = one_run_page(loaded[0], sounds=sounds) if single else several_runs_page(loaded, sounds=sounds)
    return write_page(page, out or report_file(runs))


def write_pretraining_report(runs: Mapping[Path, Result], *, out: Path | None = None) -> Path:
    """The same for runs of job=labels and job=pretrain.

    Raises:
        OSError: something cannot be written.
    """
    return write_page(pretraining_page(runs), out or report_file(runs))


def report_file(runs: Mapping[Path, Result]) -> Path:
    """Where a page goes without a name: into the folder of its run; of several, into `SEVERAL`, by a name that is theirs."""
    if len(runs) == 1:
        return next(iter(runs)) / REPORT
    ids = "\n".join(sorted(one.run_id for one in runs.values()))
    return SEVERAL / f"report-{hashlib.sha256(ids.encode()).hexdigest()[:8]}.html"


def write_page(page: Page, out: Path) -> Path:
    """Write a page and the files of its figures.

    Raises:
        OSError: something cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = made(figures_folder(out)) if page.charts else figures_folder(out)
    for chart in page.charts:
        chart.save(figures)
    write_atomic(out, [render(page, figures=figures.name)])
    return out


def figures_folder(out: Path) -> Path:
    """Beside the page: `figures` of report.html, `NAME_figures` of another, so that two pages of a folder keep theirs."""
    return out.with_name(FIGURES if out.name == REPORT else f"{out.stem}_{FIGURES}")


def render(page: Page, *, figures: str) -> str:
    """The whole page (`mlsuperb.scoring.page.html.render`). `figures`: name of the folder with the files of its figures."""
    markup = {"svg": Chart.svg, "quiet": lambda text: text.replace("&", "&amp;").replace("<", "&lt;")}  # quotes stay
    return html.render("report.jinja", rooms=["mlsuperb.analysis.report"], markup=markup, page=page, folder=figures)
