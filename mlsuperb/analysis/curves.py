"""How trainings went: losses and error rates by epoch, of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mlsuperb.analysis.chart import Chart, new_figure

# Okabe and Ito's palette, which colour-blind readers can tell apart, without its yellow (too pale on white)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("-", "--", ":", "-.")
NAMES = {
    "valid_token_error_rate": "token error rate in validation",
    "valid_lid_error_rate": "language error rate in validation",
}


def plain(text: str) -> str:
    """`text` for a figure: a dollar sign is no formula."""
    return text.replace("$", r"\$")


def training_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Chart]:
    """A figure of the losses, one of every other figure that the validations measured. `histories`: run -> `history` of
    its result (an entry an epoch); runs without one are left out."""
    rows = [
        {"run": run, "epoch": entry["epoch"], "measure": name, "value": float(value)}
        for run, history in histories.items()
        for entry in history
        for name, value in entry.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and name.startswith(("train_", "valid_"))
    ]
    if not rows:
        return []
    table = pd.DataFrame(rows)
    losses = table["measure"].isin(["train_loss", "valid_loss"])
    measures = table["measure"][~losses].unique()
    charts = [_chart(table[losses], name="losses", title="Loss by epoch", axis="loss")] if losses.any() else []
    for measure in measures:
        title = NAMES.get(measure, measure.replace("_", " "))
        part = table[table["measure"] == measure]
        charts.append(_chart(part, name=measure, title=f"{title[:1].upper()}{title[1:]} by epoch", axis="error rate"))
    return charts


def _chart(table: pd.DataFrame, *, name: str, title: str, axis: str) -> Chart:
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = new_figure(width_in=4.6, height_in=3.0)
    runs = list(table["run"].unique())
    measures = list(table["measure"].unique())
    for (run, measure), part in table.groupby(["run", "measure"], sort=False):
        index = runs.index(run)
        label = [str(run)] if len(runs) > 1 else []
        label += ["training" if measure == "train_loss" else "validation"] if len(measures) > 1 else []
        axes.plot(
            part["epoch"],
            part["value"],
            color=COLOURS[index % len(COLOURS)],
            linestyle=DASHES[1] if measure == "train_loss" else DASHES[0],
            marker="o" if len(part) <= 30 else None,
            markersize=3,
            label=plain(", ".join(label)),
        )
    axes.set(xlabel="epoch", ylabel=axis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(runs) > 1 or len(measures) > 1:
        axes.legend(fontsize=8, frameon=False)
    return Chart(
        name=f"curve_{name}",
        title=title,
        note="Of the objective's own measure, before decoding: not the scores of the tables.",
        figure=figure,
        data=table,
    )
