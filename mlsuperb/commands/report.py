"""`mlsuperb report RUN [RUN...]`: write one page about a finished run, or about several side by side.

A folder of runs stands for the finished runs in it. Runs of job=labels and job=pretrain have a page of their own: FILE, or
FILE with _pretraining in its name where there are other runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MAX_AUDIO = 20


def _bar(rows: Iterable[Any], number: int) -> Any:
    from tqdm import tqdm

    return tqdm(rows, total=number, desc="measure audio", unit="utt", disable=number < 200)


def main(arguments: Sequence[str]) -> None:
    """Write the page and name it."""
    options = vars(_parser().parse_args(arguments))
    from mlsuperb.analysis.report.page import figures_folder, report_file, write_pretraining_report, write_report
    from mlsuperb.pretraining.records import LabelsResult, PretrainingResult
    from mlsuperb.runs.result import Result
    from mlsuperb.runs.store import Found, find
    from mlsuperb.runtime.console import Console
    from mlsuperb.scoring.result import SCORED, BenchmarkResult
    from mlsuperb.scoring.table import tell

    console = Console()
    found: Found[Result] = find(options.pop("runs"), *SCORED, PretrainingResult, LabelsResult).required()
    tell(console, *(f"left out: {folder}: {reason}" for folder, reason in found.left_out.items()))
    scored = {folder: one for folder, one in found.runs.items() if isinstance(one, BenchmarkResult)}
    others = {folder: one for folder, one in found.runs.items() if folder not in scored}
    paths = [write_report(scored, progress=_bar, **options)] if scored else []
    if others:
        out = options["out"] or report_file(found.runs)
        beside = out.with_stem(f"{out.stem}_pretraining") if scored else options["out"]
        paths.append(write_pretraining_report(others, out=beside))
    for path in paths:
        tell(console, f"Written to {path} ({path.stat().st_size / 1e6:.1f} MB)")
        tell(console, f"Its figures as SVG, PNG and CSV: {figures_folder(path)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlsuperb report", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run, or of runs")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: RUN/report.html; for several runs, a page in exp/reports that is named after them",
    )
    parser.add_argument("--split", default="test", help="split whose utterances are shown (default: test)")
    parser.add_argument(
        "--max-audio", type=int, default=MAX_AUDIO, metavar="N", help=f"utterances with audio (default: {MAX_AUDIO})"
    )
    parser.add_argument(
        "--audio-root", dest="audio_from", type=Path, action="append", default=[], metavar="DIR",
        help="folder from which audio may come, beside the runs' own data; repeatable",
    )  # fmt: skip
    return parser
