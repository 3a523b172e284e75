"""Which layers the weighted sum of a trained run listens to, a row a run (Shi et al. 2023, ML-SUPERB, figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlsuperb.analysis.chart import Chart, new_figure
from mlsuperb.analysis.naming import subject
from mlsuperb.scoring.table import Cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUMBERS_FIT = 13  # columns: layers of a base model
COLOUR_MAP = "viridis"  # the same order of lightness to every eye
NOTE = (
    "The softmax weights of the featurizer after training, each row adding up to 1; layer 0 is what enters the first block. "
    "A weight is a share of the sum, not an importance: layers differ in the size of their values, neighbouring layers say "
    "much the same and share their weight by chance, and weights that training hardly moved stay near their start, 1 / layers."
)


def why_no_weights(result: Mapping[str, Any]) -> str | None:
    """Why a result has no row, or None if it has one."""
    featurizer = result.get("featurizer")
    if featurizer is None:
        return (
            "its result is of a version that did not record them; train it again, with run_name=... beside the old one"
        )
    weights = featurizer["layer_weights"]
    if weights is None:
        return (
            f"featurizer={featurizer['name']} takes one layer and learns no weights; train with featurizer=weighted_sum"
        )
    if len(weights) == 1:
        return f"upstream={result['upstream']['name']} has one layer, whose weight is always 1"
    return None


def layer_weights_chart(results: Sequence[Mapping[str, Any]], *, labels: Sequence[str]) -> Chart:
    """The heat map: one panel for each number of layers.

    Args:
        results: those that have weights (`why_no_weights`).
        labels: of their rows.

    Raises:
        ValueError: there is none.
    """
    if not results:
        raise ValueError("there is no run with layer weights to show: train some with featurizer=weighted_sum")
    panels: dict[int, list[int]] = {}
    for row, result in enumerate(results):
        panels.setdefault(len(result["featurizer"]["layer_weights"]), []).append(row)
    heights = [0.32 * len(rows) + 0.75 for rows in panels.values()]
    figure, axes = new_figure(height_in=sum(heights) + 0.3, rows=len(panels))
    grid = axes[0].get_gridspec()
    assert grid is not None
    grid.set_height_ratios(heights)
    for axis, (num_layers, rows) in zip(axes, panels.items(), strict=True):
        weights = np.array([results[row]["featurizer"]["layer_weights"] for row in rows])
        image = _heat_map(axis, weights, [labels[row] for row in rows])
        bar = figure.colorbar(image, ax=axis, label="weight", pad=0.02, aspect=max(4, 4 * len(rows)))
        bar.ax.axhline(1 / num_layers, color="white", linewidth=1.5)
        axis.set_xlabel(f"layer of {num_layers}; white line: {1 / num_layers:.3f}, where training starts", fontsize=9)
    return Chart(
        name="layer_weights",
        title="Weights of the upstream's layers",
        note=NOTE + (" Panels have scales of their own." if len(panels) > 1 else ""),
        figure=figure,
        data=weights_table(results, labels=labels),
    )


def weights_table(results: Sequence[Mapping[str, Any]], *, labels: Sequence[str]) -> pd.DataFrame:
    """A row a run and layer."""
    return pd.DataFrame(
        {
            "run_id": result["run_id"],
            "label": label,
            "subject": subject(result),
            "upstream": result["upstream"]["name"],
            "adaptation": result["adaptation"]["name"],
            "layer": layer,
            "weight": weight,
        }
        for result, label in zip(results, labels, strict=True)
        for layer, weight in enumerate(result["featurizer"]["layer_weights"])
    )


def _heat_map(axis: Axes, weights: np.ndarray, labels: list[str]) -> Any:
    rows, columns = weights.shape
    highest = max(2 / columns, weights.max())  # equal weights, where training starts, are never its end
    image = axis.imshow(weights, cmap=COLOUR_MAP, vmin=0, vmax=highest, aspect="auto", interpolation="nearest")
    axis.set_yticks(range(rows), labels, fontsize=8)
    axis.set_xticks(range(0, columns, 1 if columns <= 2 * NUMBERS_FIT else 4))
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(False)
    if columns <= NUMBERS_FIT:
        for row, column in np.ndindex(rows, columns):
            dark = weights[row, column] < 0.6 * highest
            text = f"{weights[row, column]:.2f}".lstrip("0")
            axis.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    return image


def summary(results: Sequence[Mapping[str, Any]], *, labels: Sequence[str]) -> Cells:
    """A row a run: its three heaviest layers, and how much of the weight they hold."""
    rows = []
    for result, label in zip(results, labels, strict=True):
        weights = np.array(result["featurizer"]["layer_weights"])
        heaviest = np.argsort(-weights, kind="stable")[:3]
        shown = ", ".join(f"{layer} ({weights[layer]:.3f})" for layer in heaviest)
        rows.append((label, str(len(weights)), shown, f"{weights.min():.3f} to {weights.max():.3f}"))
    return Cells("Layer weights", ("run", "layers", "heaviest", "range"), tuple(rows), num_names=1)
