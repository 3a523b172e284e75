"""Pictures of a transfer matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsuperb.analysis.chart import Chart, new_figure
from mlsuperb.analysis.palette import colours
from mlsuperb.analysis.transfer import Transfer
from mlsuperb.analysis.transfer_tables import cells_table
from mlsuperb.data.languages import language_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOUR_MAP = "cividis_r"  # dark is bad, and the same order of lightness to every eye
MATRIX_NOTE = (
    "Rows: what a run was trained on; columns: what it was tested on; framed: a {by} that it heard in training. Errors over all "
    "units of the test utterances, in brackets the 95 % bootstrap interval over utterances; a run is one training, and another "
    "seed may differ by more."
)
BARS_NOTE = (
    "Mean over utterances of their own error rates, whiskers: one standard deviation of the utterances (not of the mean), cut "
    "off at zero. Hatched: the {by} was heard in training. Short utterances weigh as much as long ones here, so that these are "
    "not the rates of the matrix."
)


def _named(code: str, transfer: Transfer) -> str:
    """With the language's name, where there is room."""
    if transfer.by == "dataset" or len(transfer.columns) > 8:
        return code
    return f"{code}\n{language_name(code)}"


def matrix_chart(transfer: Transfer) -> Chart:
    """Error rates as a heat map with numbers."""
    rows, columns = transfer.rows, transfer.columns
    figure, (axis,) = new_figure(height_in=1.5 + 0.5 * len(rows))
    rates = [
        [cell.error_rate if (cell := transfer.cells.get((row, column))) else None for column in columns] for row in rows
    ]
    shown = [[float("nan") if rate is None else rate for rate in line] for line in rates]
    highest = max([100.0, *(rate for line in rates for rate in line if rate is not None)])
    image = axis.imshow(shown, cmap=COLOUR_MAP, vmin=0, vmax=highest, aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axis, label=f"{transfer.unit} %", pad=0.02)
    for row, label in enumerate(rows):
        for column, code in enumerate(columns):
            _number(axis, row, column, transfer, label=label, code=code, highest=highest)
    axis.set_xticks(range(len(columns)), [_named(code, transfer) for code in columns], fontsize=8)
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    axis.set_xlabel("tested on")
    axis.set_ylabel("trained on")
    axis.grid(False)
    return Chart(
        name="transfer_matrix",
        title=f"{transfer.unit} on what was heard in training and what was not",
        note=MATRIX_NOTE.format(by=transfer.by),
        figure=figure,
        data=cells_table(transfer),
    )


def _number(axis: Axes, row: int, column: int, transfer: Transfer, *, label: str, code: str, highest: float) -> None:
    from matplotlib.patches import Rectangle

    cell = transfer.cells.get((label, code))
    if cell is None or cell.error_rate is None:
        why = "not\nmeasured" if cell is None else "no\nreference"
        axis.text(column, row, why, ha="center", va="center", fontsize=7, color="#555555")
        return
    if cell.heard:
        axis.add_patch(
            Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, fill=False, edgecolor="#D55E00", linewidth=2.5)
        )
    text = f"{cell.error_rate:.1f}"
    if cell.interval and len(transfer.columns) <= 8:
        text += f"\n[{cell.interval.low:.1f}, {cell.interval.high:.1f}]"
    dark = cell.error_rate > 0.55 * highest
    axis.text(column, row, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")


def bars_chart(transfer: Transfer) -> Chart:
    """Mean and deviation of the utterances' rates, a group of bars for each column."""
    figure, (axis,) = new_figure(height_in=3.6)
    shades = colours(transfer.rows)
    width = 0.84 / len(transfer.rows)
    for number, label in enumerate(transfer.rows):
        for place, code in enumerate(transfer.columns):
            cell = transfer.cells.get((label, code))
            if cell is None or cell.mean is None:
                continue
            x = place + (number - (len(transfer.rows) - 1) / 2) * width
            sd = cell.sd or 0.0
            axis.bar(
                x,
                cell.mean,
                width=0.94 * width,
                color=shades[label],
                edgecolor="white",
                hatch="///" if cell.heard else None,
                linewidth=0,
            )
            axis.errorbar(x, cell.mean, yerr=[[min(sd, cell.mean)], [sd]], color="black", capsize=2, linewidth=0.9)
    _bar_axis(axis, transfer)
    _bar_legend(axis, shades)
    data = cells_table(transfer)
    return Chart(
        name="transfer_bars",
        title=f"{transfer.unit} of utterances: mean and standard deviation",
        note=BARS_NOTE.format(by=transfer.by)
        + (" Where a bar is missing, nothing was measured." if transfer.empty else ""),
        figure=figure,
        data=data,
    )


def _bar_axis(axis: Axes, transfer: Transfer) -> None:
    axis.set_xticks(range(len(transfer.columns)), [_named(code, transfer) for code in transfer.columns], fontsize=8)
    axis.set_xlabel("tested on")
    axis.set_ylabel(f"{transfer.unit} of utterances, %")
    axis.set_ylim(bottom=0)
    axis.grid(axis="x", visible=False)


def _bar_legend(axis: Axes, shades: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=f"trained on {label}") for label, colour in shades.items()]
    handles.append(Patch(facecolor="#999999", edgecolor="white", hatch="///", label="heard in training", linewidth=0))
    figure = axis.get_figure()
    assert figure is not None
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
