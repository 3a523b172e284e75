"""Training curves: losses and error rates by epoch, of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mlsuperb.analysis.chart import EIGHT, GREY, Chart, legend_below, new_figure, sample

SHORT = 16  # characters of a run's name: three fit into a line
NAMES = {
    "valid_token_error_rate": "token error rate in validation",
    "valid_lid_error_rate": "language error rate in validation",
}


def training_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Chart]:
    """A figure of the losses and one of every other measure of the validations. `histories`: run -> `history` of its result
    (one entry per epoch); runs without one are left out."""
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
    shades = {
        run: EIGHT[place % len(EIGHT)] for place, run in enumerate(table["run"].unique())
    }  # the same in every figure
    losses = table["measure"].isin(["train_loss", "valid_loss"])
    charts = [_chart(table[losses], name="losses", title="loss", axis="loss", shades=shades)] if losses.any() else []
    for measure, part in table[~losses].groupby("measure", sort=False):
        rate = str(measure).endswith("_error_rate")
        title = NAMES.get(str(measure), str(measure).replace("_", " "))
        part = part.assign(value=part["value"] * (100 if rate else 1))
        axis = "error rate %" if rate else title
        charts.append(_chart(part, name=str(measure), title=title, axis=axis, shades=shades))
    return charts


def _chart(table: pd.DataFrame, *, name: str, title: str, axis: str, shades: Mapping[str, str]) -> Chart:
    from matplotlib.ticker import MaxNLocator

    runs = list(table["run"].unique())
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
    handles = [sample(run, shades[run]) for run in runs if len(shades) > 1]
    if table["measure"].nunique() > 1:
        handles += [sample("validation", GREY), sample("training", GREY, linestyle="--")]
    if handles:
        short = len(shades) == 1 or all(len(run) <= SHORT for run in runs)
        legend_below(figure, handles, columns=3 if short else 1)
    return Chart(
        name=f"curve_{name}",
        title=f"{title[:1].upper()}{title[1:]} by epoch",
        note="Measured by the objective itself, before decoding: not the scores of the tables.",
        figure=figure,
        data=table,
    )
