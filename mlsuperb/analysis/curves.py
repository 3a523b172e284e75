"""How trainings went: losses and error rates by epoch, of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from mlsuperb.analysis.chart import Chart, new_figure
from mlsuperb.analysis.palette import EIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHORT = 16  # characters of a run's name, of which three stand in a line
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
    runs = list(table["run"].unique())
    shades = {run: EIGHT[place % len(EIGHT)] for place, run in enumerate(runs)}  # the same in every figure
    charts = []
    if losses.any():
        charts.append(_chart(table[losses], name="losses", title="Loss by epoch", axis="loss", shades=shades))
    for measure in measures:
        title = NAMES.get(measure, measure.replace("_", " "))
        part = table[table["measure"] == measure]
        rate = measure.endswith("_error_rate")
        part = part.assign(value=100 * part["value"]) if rate else part
        axis = "error rate %" if rate else title
        title = f"{title[:1].upper()}{title[1:]} by epoch"
        charts.append(_chart(part, name=measure, title=title, axis=axis, shades=shades))
    return charts


def _chart(table: pd.DataFrame, *, name: str, title: str, axis: str, shades: Mapping[str, str]) -> Chart:
    from matplotlib.ticker import MaxNLocator

    runs = list(table["run"].unique())
    measures = list(table["measure"].unique())
    figure, (axes,) = new_figure(width_in=4.6, height_in=3.2 if len(runs) == 1 else 3.2 + 0.2 * len(runs))
    for (run, measure), part in table.groupby(["run", "measure"], sort=False):
        axes.plot(
            part["epoch"],
            part["value"],
            color=shades[str(run)],
            linestyle="--" if measure == "train_loss" else "-",
            marker="o" if len(part) <= 30 else None,
            markersize=3,
        )
    axes.set(xlabel="epoch", ylabel=axis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axis.startswith("error rate"):  # an error rate that hardly moves is not to look as if it did
        axes.set_ylim(bottom=0)
    named = {run: shades[run] for run in runs} if len(shades) > 1 else {}
    _legend(figure, named, losses=len(measures) > 1)
    return Chart(
        name=f"curve_{name}",
        title=title,
        note="Of the objective's own measure, before decoding: not the scores of the tables.",
        figure=figure,
        data=table,
    )


def _legend(figure: Figure, shades: Mapping[str, str], *, losses: bool) -> None:
    """Under the axes: a colour a run, and which lines are of training."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, label=run) for run, colour in shades.items()]
    if losses:
        handles.append(Line2D([], [], color="#555555", linestyle="-", label="validation"))
        handles.append(Line2D([], [], color="#555555", linestyle="--", label="training"))
    if handles:
        columns = 3 if all(len(run) <= SHORT for run in shades) else 1
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
