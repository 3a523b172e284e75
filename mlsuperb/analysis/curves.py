"""How trainings went: losses and error rates by epoch, of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mlsuperb.analysis.chart import Chart, new_figure
from mlsuperb.analysis.palette import EIGHT

DASHES = ("-", "--")  # validation, training
NAMES = {
    "valid_token_error_rate": "token error rate in validation",
    "valid_lid_error_rate": "language error rate in validation",
}


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
        rate = measure.endswith("_error_rate")
        part = part.assign(value=100 * part["value"]) if rate else part
        axis = "error rate %" if rate else title
        charts.append(_chart(part, name=measure, title=f"{title[:1].upper()}{title[1:]} by epoch", axis=axis))
    return charts


def _chart(table: pd.DataFrame, *, name: str, title: str, axis: str) -> Chart:
    from matplotlib.ticker import MaxNLocator

    runs = list(table["run"].unique())
    measures = list(table["measure"].unique())
    figure, (axes,) = new_figure(width_in=4.6, height_in=3.0 if len(runs) == 1 else 3.0 + 0.2 * len(runs))
    for (run, measure), part in table.groupby(["run", "measure"], sort=False):
        index = runs.index(run)
        label = [str(run)] if len(runs) > 1 else []
        label += ["training" if measure == "train_loss" else "validation"] if len(measures) > 1 else []
        axes.plot(
            part["epoch"],
            part["value"],
            color=EIGHT[index % len(EIGHT)],
            linestyle=DASHES[1] if measure == "train_loss" else DASHES[0],
            marker="o" if len(part) <= 30 else None,
            markersize=3,
            label=", ".join(label),
        )
    axes.set(xlabel="epoch", ylabel=axis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axis.startswith("error rate"):  # an error rate that hardly moves is not to look as if it did
        axes.set_ylim(bottom=0)
    if len(runs) > 1:  # beside the lines, of which there are too many to leave room
        figure.legend(loc="outside lower center", ncols=len(measures), fontsize=8, frameon=False)
    elif len(measures) > 1:
        axes.legend(fontsize=8, frameon=False)
    return Chart(
        name=f"curve_{name}",
        title=title,
        note="Of the objective's own measure, before decoding: not the scores of the tables.",
        figure=figure,
        data=table,
    )
