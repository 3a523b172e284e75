"""Heat map of learned layer weights, one row per run (Shi et al. 2023, ML-SUPERB, figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mlsuperb.analysis.chart import Chart, Outcome, heat_map, new_figure
from mlsuperb.analysis.runs import run_labels, subject
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.scoring.table import Cells

NUMBERS_FIT = 13  # columns: layers of a base model
PER_DIMENSION = ".WeightedSumPerDimension"  # the end of a featurizer's `_target_`
MEAN = "mean over dimensions"
COLOUR_MAP = "viridis"  # the same order of lightness to every eye
NOTE = (
    "The softmax weights of the featurizer after training; each row adds up to 1, layer 0 is the input of the first block "
    "(of XEUS, run as its authors do, the output of that block). "
    "A weight is a share of the sum, not an importance: layers differ in the size of their values, neighbouring layers carry "
    "similar information and share their weight arbitrarily, and weights that training hardly moved stay near their start, "
    "1 / layers."
)
MEAN_NOTE = (
    f" '{MEAN}': this featurizer (weighted_sum_per_dimension) has a softmax over the layers for every feature dimension. The "
    "mean over dimensions is shown; how much dimensions differ is not."
)


def layer_weights(runs: Mapping[Path, BenchmarkResult]) -> Outcome:
    """The heat map of the runs that learned layer weights.

    Raises:
        ValueError: none did.
    """
    reasons = {run: reason for run, result in runs.items() if (reason := why_no_weights(result))}
    shown = [result for run, result in runs.items() if run not in reasons]
    if not shown:
        raise ValueError("; ".join(f"{run} has no layer weights to show: {reason}" for run, reason in reasons.items()))
    labels = run_labels(shown, subjects=[subject(result) for result in shown])
    return Outcome(
        charts=[layer_weights_chart(shown, labels=labels)],
        table=_summary(shown, labels=labels),
        remarks=[f"not in the figure: {run}: {reason}" for run, reason in reasons.items()],
        synthetic=any(result.synthetic for result in shown),
    )


def why_no_weights(result: BenchmarkResult) -> str | None:
    """Why a result has no row; None if it has one."""
    if result.featurizer is None:
        return "its result was written by a version that did not record them; train it again with another run_name=..."
    if result.featurizer.layer_weights is None:
        name = result.featurizer.name
        return f"featurizer={name} takes one layer and learns no weights; train with featurizer=weighted_sum"
    if len(result.featurizer.layer_weights) == 1:
        return f"upstream={result.upstream.name} has one layer, whose weight is always 1"
    return None


def _weights(result: BenchmarkResult) -> list[float]:
    weights = result.featurizer and result.featurizer.layer_weights
    assert weights, "see why_no_weights"
    return weights


def _is_mean(result: BenchmarkResult) -> bool:
    """Whether the weights are the mean over feature dimensions, each of which has its own."""
    return str(result.config.get("featurizer", {}).get("_target_")).endswith(PER_DIMENSION)


def _marked(results: Sequence[BenchmarkResult], labels: Sequence[str]) -> list[str]:
    """The labels; those of means say so."""
    return [f"{label}, {MEAN}" * _is_mean(one) or label for one, label in zip(results, labels, strict=True)]


def layer_weights_chart(results: Sequence[BenchmarkResult], *, labels: Sequence[str]) -> Chart:
    """The heat map: one panel for each number of layers.

    Args:
        results: those that have weights (`why_no_weights`), one at least.
        labels: of their rows; those of `weighted_sum_per_dimension` get more to say.
    """
    labels = _marked(results, labels)
    sizes = list(dict.fromkeys(len(_weights(result)) for result in results))
    panels = [[row for row, result in enumerate(results) if len(_weights(result)) == size] for size in sizes]
    heights = [0.32 * len(rows) + 0.75 for rows in panels]
    figure, axes = new_figure(height_in=sum(heights) + 0.3, rows=len(panels))
    grid = axes[0].get_gridspec()
    assert grid is not None
    grid.set_height_ratios(heights)
    for axis, size, rows in zip(axes, sizes, panels, strict=True):
        weights_RL = np.array([_weights(results[row]) for row in rows])
        texts = {place: f"{value:.2f}".lstrip("0") for place, value in np.ndenumerate(weights_RL)}
        image = heat_map(
            axis,
            weights_RL,
            rows=[labels[row] for row in rows],
            colour_map=COLOUR_MAP,
            highest=max(2 / size, weights_RL.max()),  # equal weights, where training starts, are never its end
            texts=texts if size <= NUMBERS_FIT else {},
        )
        axis.set_xticks(range(0, size, 1 if size <= 2 * NUMBERS_FIT else 4))
        axis.tick_params(axis="x", labelsize=8)
        bar = figure.colorbar(image, ax=axis, label="weight", pad=0.02, aspect=max(4, 4 * len(rows)))
        bar.ax.axhline(1 / size, color="white", linewidth=1.5)
        axis.set_xlabel(f"layer of {size}; white line: {1 / size:.3f}, where training starts", fontsize=9)
    note = NOTE + " Each panel has a scale of its own." * (len(panels) > 1) + MEAN_NOTE * any(map(_is_mean, results))
    return Chart(name="layer_weights", title="Layer weights", note=note, figure=figure, data=_table(results, labels))


def _table(results: Sequence[BenchmarkResult], labels: Sequence[str]) -> pd.DataFrame:
    """One row per run and layer."""
    return pd.DataFrame(
        {
            "run_id": result.run_id,
            "label": label,
            "subject": subject(result),
            "upstream": result.upstream.name,
            "adaptation": result.adaptation.name,
            "layer": layer,
            "weight": weight,
        }
        for result, label in zip(results, labels, strict=True)
        for layer, weight in enumerate(_weights(result))
    )


def _summary(results: Sequence[BenchmarkResult], *, labels: Sequence[str]) -> Cells:
    """One row per run: its three largest weights and the range of all."""
    rows = []
    for result, label in zip(results, _marked(results, labels), strict=True):
        weights = np.array(_weights(result))
        largest = ", ".join(f"{layer} ({weights[layer]:.3f})" for layer in np.argsort(-weights, kind="stable")[:3])
        rows.append((label, str(len(weights)), largest, f"{weights.min():.3f} to {weights.max():.3f}"))
    return Cells("Layer weights", ("run", "layers", "largest", "range"), tuple(rows), num_names=1)
