"""Training curves: losses and other measures by epoch or by update, of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mlsuperb.analysis.chart import EIGHT, GREY, Chart, legend_below, new_figure, sample

SHORT = 16  # characters of a run's name: three fit into a line
NOTE = "Measured by the objective itself, before decoding: not the scores of the tables."
NAMES = {
    "valid_token_error_rate": "token error rate in validation",
    "valid_lid_error_rate": "language error rate in validation",
    "valid_code_perplexity": "perplexity of the predicted units",
}
RATES = ("error_rate", "accuracy")  # shares, shown in %
WEIGHTS = "dro_weights/"  # of languages, in a history
WEIGHTS_NOTE = (
    "The weights of CTC-DRO add up to 1; dotted: 1 / {num}, where training starts.{more} A language whose loss stays high gains "
    "weight."
)
PALE = "#BBBBBB"


def training_curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], *, loss: str = "loss", note: str = NOTE
) -> list[Chart]:
    """Figures by epoch (`curves`). `histories`: run -> `history` of its result (one entry per epoch); runs without one are left
    out."""
    rows = [
        {"run": run, "epoch": entry["epoch"], "measure": name, "value": float(value)}
        for run, history in histories.items()
        for entry in history
        for name, value in entry.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and name.startswith(("train_", "valid_"))
    ]
    return curves(pd.DataFrame(rows), by="epoch", loss=loss, note=note) if rows else []


def curves(table: pd.DataFrame, *, by: str, loss: str, note: str) -> list[Chart]:
    """A figure of the losses and one of every other measure, each with all runs; `train_X` and `valid_X` share a figure.

    Args:
        table: a row for each point: `run`, `measure`, `value`, and the column `by`, which is the horizontal axis.
        loss: title of the vertical axis of the losses.
    """
    # a run has the same colour in every figure
    shades = {run: EIGHT[place % len(EIGHT)] for place, run in enumerate(table["run"].unique())}
    measured = table["measure"].str.replace("^(train|valid)_", "", regex=True)
    charts = []
    for measure in sorted(measured.unique(), key=lambda one: str(one) != "loss"):
        part = table[measured == measure]
        names = part["measure"].unique()
        name = "losses" if measure == "loss" else str(measure if len(names) > 1 else names[0])
        title = "loss" if measure == "loss" else NAMES.get(name, name.replace("_", " "))
        rate = next((one.replace("_", " ") for one in RATES if str(measure).endswith(f"_{one}")), None)
        axis = f"{rate} %" if rate else loss if measure == "loss" else title
        part = part.assign(value=part["value"] * 100) if rate else part
        name = f"curve_{name}" if by == "epoch" else f"curve_{name}_by_{by}"
        charts.append(_chart(part, by=by, name=name, title=f"{title} by {by}", axis=axis, note=note, shades=shades))
    return charts


def _chart(
    table: pd.DataFrame, *, by: str, name: str, title: str, axis: str, note: str, shades: Mapping[str, str]
) -> Chart:
    from matplotlib.ticker import MaxNLocator

    runs = list(table["run"].unique())
    figure, (axes,) = new_figure(width_in=4.6, height_in=3.2 if len(runs) == 1 else 3.2 + 0.2 * len(runs))
    for (run, measure), part in table.groupby(["run", "measure"], sort=False):
        axes.plot(
            part[by],
            part["value"],
            color=shades[str(run)],
            linestyle="--" if str(measure).startswith("train_") else "-",
            marker="o" if len(part) <= 30 else None,
            markersize=3,
        )
    axes.set(xlabel=by, ylabel=axis)
    axes.xaxis.set_major_locator(MaxNLocator("auto" if by == "epoch" else 5, integer=True))
    if axis.endswith("%"):  # a rate that hardly moves is not to look as if it did
        axes.set_ylim(bottom=0)
    handles = [sample(run, shades[run]) for run in runs if len(shades) > 1]
    if table["measure"].nunique() > 1:
        handles += [sample("validation", GREY), sample("training", GREY, linestyle="--")]
    if handles:
        short = len(shades) == 1 or all(len(run) <= SHORT for run in runs)
        legend_below(figure, handles, columns=3 if short else 1)
    return Chart(name=name, title=f"{title[:1].upper()}{title[1:]}", note=note, figure=figure, data=table)


def language_weights(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Chart]:
    """Weights of the languages by epoch, a figure for each run that keeps them (`dro_weights/deu` in its history)."""
    rows = [
        {"run": run, "epoch": entry["epoch"], "language": name.removeprefix(WEIGHTS), "weight": float(value)}
        for run, history in histories.items()
        for entry in history
        for name, value in entry.items()
        if name.startswith(WEIGHTS)
    ]
    if not rows:
        return []
    found = pd.DataFrame(rows).groupby("run", sort=False)
    several = len(histories) > 1
    return [_weights_chart(part, run=str(run), number=several * number) for number, (run, part) in enumerate(found, 1)]


def _weights_chart(table: pd.DataFrame, *, run: str, number: int) -> Chart:
    """The languages that end farthest from the equal weight have a colour. `number`: of the run, or 0 where there is only one."""
    from matplotlib.ticker import MaxNLocator

    last = table.groupby("language")["weight"].last()
    equal = 1 / len(last)
    coloured = (last - equal).abs().nlargest(len(EIGHT)).index
    shades = dict(zip(last[coloured].sort_values(ascending=False).index, EIGHT, strict=False))
    figure, (axes,) = new_figure(width_in=4.6, height_in=3.4)
    for language, part in table.groupby("language"):
        style = {"color": shades[language], "zorder": 3} if language in shades else {"color": PALE}
        axes.plot(part["epoch"], part["weight"], marker="o" if len(part) <= 30 else None, markersize=3, **style)
    axes.axhline(equal, color=GREY, linestyle=":", zorder=4)
    axes.set(xlabel="epoch", ylabel="weight")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    legend_below(figure, [sample(one, shade) for one, shade in shades.items()], columns=4)
    return Chart(
        name=f"curve_language_weights{f'_{number}' * bool(number)}",
        title=f"Weights of the languages by epoch{f', {run}' * bool(number)}",
        note=WEIGHTS_NOTE.format(
            num=len(last), more=f" Grey: {len(last) - len(shades)} that end closest to it." * (len(last) > len(shades))
        ),
        figure=figure,
        data=table,
    )
