"""Figures of discrete units: units against phones, quality by layer. Letters: P phones, K units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from mlsuperb.analysis.chart import EIGHT, GREY, Chart, heat_map, legend_below, new_figure, sample
from mlsuperb.analysis.unit_tables import UnitRow, best_layers, layer_records
from mlsuperb.units.layers import PUBLISHED_BLOCKS, PUBLISHED_LAYERS, LayerCurve
from mlsuperb.units.quality import Quality

COLOUR_MAP = "viridis"
_NOTE = (
    "Each column is a unit, and its colours are the shares of its frames that each phone has; phones are sorted by frequency, "
    "units by their most frequent phone. A diagonal staircase of bright cells is what good units look like. Units that do not "
    "occur beside a phone are left out."
)
_LAYERS_NOTE = (
    "PNMI: the share of what there is to know of a frame's phone that its unit tells, of units clustered in each layer (higher "
    "is better). ABX: how often a phone in its context is nearer to another phone there than to the same one, by the features "
    "themselves (lower is better). Dotted, for models of 12 blocks: the layers that mHuBERT-147 took, of its first and of its "
    "second model."
)


def unit_charts(rows: Sequence[UnitRow]) -> list[Chart]:
    """The figure of each row of the table."""
    several = len({row.language for row in rows}) > 1
    return [unit_chart(row.quality, name=f"{row.run} {row.language}" if several else row.run) for row in rows]


def unit_chart(quality: Quality, *, name: str) -> Chart:
    """p(phone | unit) of the units of a run (`name`), with its numbers: share and frames of each phone and unit."""
    frames_K = quality.joint_PK.sum(0)
    share_PK = quality.joint_PK / np.where(frames_K > 0, frames_K, 1)
    phone_K = share_PK.argmax(0)
    units = sorted(np.flatnonzero(frames_K).tolist(), key=lambda unit: (phone_K[unit], -share_PK[phone_K[unit], unit]))
    figure, (axes,) = new_figure(height_in=1.4 + 0.14 * len(quality.phones))
    image = heat_map(axes, share_PK[:, units], rows=quality.phones, colour_map=COLOUR_MAP, highest=1.0, texts={})
    axes.tick_params(axis="y", labelsize=min(8, 5 + 60 // len(quality.phones)))
    axes.set_xticks([])
    axes.set(xlabel=f"{len(units)} units of {len(frames_K)}, PNMI {quality.pnmi:.3f}", ylabel="phone")
    figure.colorbar(image, ax=axes, label="share of the unit's frames", pad=0.02)
    phones, columns = np.nonzero(quality.joint_PK[:, units])
    chosen = np.array(units)[columns]
    table = pd.DataFrame(
        {
            "unit": chosen,
            "phone": [quality.phones[row] for row in phones],
            "share": share_PK[phones, chosen],
            "frames": quality.joint_PK[phones, chosen],
        }
    )
    return Chart(name=f"units_{slug(name)}", title=f"Units and phones: {name}", note=_NOTE, figure=figure, data=table)


def slug(name: str) -> str:
    """The name as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-")


def layer_chart(curves: Mapping[str, LayerCurve]) -> Chart:
    """PNMI and ABX by layer, of one upstream or of several (name -> curve); the best layer of each is a filled circle."""
    shades = {name: EIGHT[place % len(EIGHT)] for place, name in enumerate(curves)}
    figure, panels = new_figure(height_in=3.2 + 0.2 * (len(curves) > 1) * len(curves), columns=2)
    table = pd.DataFrame({"upstream": name, **row} for name, curve in curves.items() for row in layer_records(curve))
    for axes, (measure, column) in zip(panels, {"PNMI": "pnmi", "ABX": "abx"}.items(), strict=True):
        for name, curve in curves.items():
            part = table[table["upstream"] == name]
            axes.plot(
                part["layer"], 100 * part[column], color=shades[name], marker="o", markersize=4, markerfacecolor="white"
            )
            if (best := best_layers(curve).get(measure)) is not None:
                value = 100 * part.loc[part["layer"] == best, column].item()
                axes.plot([best], [value], color=shades[name], marker="o", markersize=7)
        for layer in PUBLISHED_LAYERS if table["layer"].max() >= PUBLISHED_BLOCKS else ():
            axes.axvline(layer, color=GREY, linestyle=":", linewidth=1)
        axes.set(xlabel="layer", ylabel=f"{measure} %" if measure == "PNMI" else "ABX error %")
        axes.set_ylim(bottom=0)
        axes.set_xticks(_ticks(table["layer"]))
    if len(curves) > 1:
        legend_below(figure, [sample(name, shade) for name, shade in shades.items()], columns=3)
    return Chart(name="unit_layers", title="Units by layer", note=_LAYERS_NOTE, figure=figure, data=table)


def _ticks(layers: Iterable[int]) -> list[int]:
    highest = max(layers)
    return list(range(0, highest + 1, 1 if highest <= 12 else 2 if highest <= 24 else 4))
