"""`python -m mlsuperb.analyse WHAT RUN...`: figures of finished runs, as SVG and PNG, with their numbers as CSV."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mlsuperb.analysis.chart import Chart
from mlsuperb.experiment import NOT_SCIENCE, write_json
from mlsuperb.scoring.result import read_result
from mlsuperb.scoring.table import SYNTHETIC, Cells

RESULT_FILE, HYPOTHESES_FILE, FOLDER = "result.json", "hypotheses.jsonl", "analysis"
PIPE_WIDTH = 200  # columns of a table that no terminal bounds
TSNE_SETTINGS = "tsne.json"


def finished_runs(folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The finished runs among `folders`, and the runs that have no result. A folder of runs stands for those in it.

    Raises:
        ValueError: none has finished.
    """
    finished, unfinished = [], []
    for folder in folders:
        if (folder / RESULT_FILE).is_file():
            finished.append(folder)
            continue
        inside = sorted(path.parent for path in folder.glob(f"*/{RESULT_FILE}"))
        started = sorted(path.parent for path in folder.glob("*/config.yaml"))
        finished += inside
        unfinished += [path for path in started if path not in inside] if inside or started else [folder]
    if not finished:
        raise ValueError(
            f"no finished run in {', '.join(map(str, folders))}: give folders that hold a {RESULT_FILE}, or the folder that "
            "they are in"
        )
    return list(dict.fromkeys(finished)), unfinished


def layer_weights(runs: Sequence[Path], *, out: Path, console: Console) -> None:
    """The heat map of the runs that learned layer weights.

    Raises:
        ValueError: none did.
    """
    from mlsuperb.analysis.layer_weights import layer_weights_chart, summary, why_no_weights
    from mlsuperb.analysis.runs import run_labels, subject

    results = {run: read_result(run / RESULT_FILE) for run in runs}
    reasons = {run: reason for run, result in results.items() if (reason := why_no_weights(result))}
    shown = [result for run, result in results.items() if run not in reasons]
    if not shown:
        raise ValueError("; ".join(f"{run} has no layer weights: {reason}" for run, reason in reasons.items()))
    labels = run_labels(shown, subjects=[subject(result) for result in shown], hidden=NOT_SCIENCE)
    _print([summary(shown, labels=labels)], console)
    for run, reason in reasons.items():
        console.print(f"not in the figure: {run}: {reason}", highlight=False, soft_wrap=True)
    _save([layer_weights_chart(shown, labels=labels)], out, shown, console)


def tsne(
    run: Path, *, out: Path, num_utterances: int, split: str, all_layers: bool, k: int, device: str, seed: int, console: Console
) -> None:
    """t-SNE and nearest neighbours of a run's test set. What an earlier call with the same settings computed from the same
    hypotheses is used again.

    Raises:
        ValueError: the run has no such split, or too few utterances or languages in it.
    """
    from mlsuperb.analysis.stage_charts import knn_chart, read_table, summary, tsne_chart
    from mlsuperb.scoring.hypotheses import read_hypotheses

    result = read_result(run / RESULT_FILE)
    settings = {
        "hypotheses": result["hypotheses"]["sha256"],
        "num_utterances": num_utterances,
        "split": split,
        "all_layers": all_layers,
        "k": k,
        "seed": seed,
    }
    stamp = out / TSNE_SETTINGS
    stored = json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else {}
    files = [out / "tsne.csv", out / "knn.csv"]
    if {key: stored.get(key) for key in settings} == settings and all(path.is_file() for path in files):
        points, neighbours = map(read_table, files)
        constant = stored["constant"]
        console.print(f"The numbers are those of {stored['date']} ({stamp}).", highlight=False, soft_wrap=True)
    else:
        hypotheses = [one for one in read_hypotheses(run / HYPOTHESES_FILE) if one.split == split]
        points, neighbours, constant = _computed(run, result, hypotheses, settings=settings, device=device)
    charts = [
        tsne_chart(points, neighbours, names_language=result["task"]["name"] != "asr", constant=constant),
        knn_chart(neighbours, constant=constant),
    ]
    _print([summary(neighbours)], console)
    _save(charts, out, [result], console)
