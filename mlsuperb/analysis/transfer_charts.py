"""The figures of a transfer matrix, drawn from its table of cells (`mlsuperb.analysis.transfer`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from mlsuperb.analysis.chart import Chart, colours, heat_map, legend_below, new_figure
from mlsuperb.data.languages import language_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

By = Literal["language", "dataset"]
FEW = 8  # columns with room for names and intervals
COLOUR_MAP = "cividis_r"  # dark is bad, and the same order of lightness to every eye
MATRIX_NOTE = (
    "Rows: what a run was trained on; columns: what it was tested on; framed: a {by} that was in its training data. Errors over "
    "all units of the test utterances, in brackets the 95 % bootstrap interval over utterances; each row is one training, and "
    "another seed may differ by more."
)
BARS_NOTE = (
    "Mean over utterances of their own error rates; whiskers: one standard deviation of the utterances (not of the mean), cut "
    "off at zero. Hatched: the {by} was in the training data. Short utterances weigh as much as long ones here, so these are "
    "not the rates of the matrix."
)


def matrix_chart(cells: pd.DataFrame, *, by: By, unit: str) -> Chart:
    """Error rates as a heat map with numbers."""
    from matplotlib.patches import Rectangle

    rows, columns = list(cells["trained_on"].unique()), list(cells["tested_on"].unique())
    figure, (axis,) = new_figure(height_in=1.5 + 0.5 * len(rows))
    rates_RC = cells["error_rate"].to_numpy(dtype=float).reshape(len(rows), len(columns))
    records = cells.to_dict("records")
    texts = {}
    for number, cell in enumerate(records):
        row, column = place = divmod(number, len(columns))
        if pd.isna(cell["error_rate"]):
            texts[place] = "no\nreference" if cell["num_utterances"] else "not\nmeasured"
            continue
        with_bounds = pd.notna(cell["low"]) and len(columns) <= FEW
        bounds = f"\n[{cell['low']:.1f}, {cell['high']:.1f}]" if with_bounds else ""
        texts[place] = f"{cell['error_rate']:.1f}{bounds}"
        if cell["in_training"]:
            frame = Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, fill=False, edgecolor="#D55E00", linewidth=2.5)
            axis.add_patch(frame)
    highest = max(100.0, float(np.nan_to_num(rates_RC).max()))
    image = heat_map(axis, rates_RC, rows=rows, colour_map=COLOUR_MAP, highest=highest, texts=texts)
    figure.colorbar(image, ax=axis, label=f"{unit} %", pad=0.02)
    _columns(axis, columns, by=by)
    axis.set_ylabel("trained on")
    return Chart(
        name="transfer_matrix",
        title=f"{unit} by training data and test data",
        note=MATRIX_NOTE.format(by=by),
        figure=figure,
        data=cells,
    )


def _columns(axis: Axes, columns: list[str], *, by: By) -> None:
    """What was tested on, with the language's name where there is room."""
    named = by == "language" and len(columns) <= FEW
    axis.set_xticks(
        range(len(columns)), [f"{one}\n{language_name(one)}" if named else one for one in columns], fontsize=8
    )
    axis.set_xlabel("tested on")


def bars_chart(cells: pd.DataFrame, *, by: By, unit: str) -> Chart:
    """Mean and deviation of the utterances' rates, a group of bars for each column."""
    from matplotlib.patches import Patch

    rows, columns = list(cells["trained_on"].unique()), list(cells["tested_on"].unique())
    figure, (axis,) = new_figure(height_in=3.6)
    shades = colours(rows)
    width = 0.84 / len(rows)
    for number, cell in enumerate(cells.to_dict("records")):
        row, column = divmod(number, len(columns))
        if pd.isna(mean := cell.get("mean_of_utterances")):
            continue
        x = column + (row - (len(rows) - 1) / 2) * width
        hatch = "///" if cell["in_training"] else None
        shade = shades[cell["trained_on"]]
        axis.bar(x, mean, width=0.94 * width, color=shade, edgecolor="white", hatch=hatch, linewidth=0)
        sd = 0.0 if pd.isna(cell["sd_of_utterances"]) else cell["sd_of_utterances"]
        axis.errorbar(x, mean, yerr=[[min(sd, mean)], [sd]], color="black", capsize=2, linewidth=0.9)
    _columns(axis, columns, by=by)
    axis.set(ylabel=f"{unit} of utterances, %")
    axis.set_ylim(bottom=0)
    axis.grid(axis="x", visible=False)
    handles = [Patch(color=shade, label=f"trained on {label}") for label, shade in shades.items()]
    hatched = Patch(facecolor="#999999", edgecolor="white", hatch="///", label="in the training data", linewidth=0)
    legend_below(figure, [*handles, hatched], columns=3)
    gaps = " Where a bar is missing, nothing was measured." if (cells["num_utterances"] == 0).any() else ""
    return Chart(
        name="transfer_bars",
        title=f"{unit} of utterances: mean and standard deviation",
        note=BARS_NOTE.format(by=by) + gaps,
        figure=figure,
        data=cells,
    )
