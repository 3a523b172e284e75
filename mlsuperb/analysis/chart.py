"""Figures with their numbers: as pictures for papers, inline for a report, as tables for everything else."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from mlsuperb.runtime.files import write_atomic
from mlsuperb.scoring.escaping import csv
from mlsuperb.scoring.table import Cells

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: the reader's fonts show every script, and it can be searched
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "savefig.bbox": "tight",
    "savefig.dpi": 150,
}
# Okabe and Ito 2008, "Color universal design": eight colours that most colour-blind readers tell apart. Yellow comes last:
# it is faint on white.
EIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
# Tol 2021, "Colour schemes" (SRON/EPS/TN/09-002): the 23 colours of the discrete rainbow without the three lightest.
TWENTY = (
    *("#CAACCB", "#BA8DB4", "#AA6F9E", "#994F88", "#882E72", "#1965B0", "#437DBF", "#6195CF", "#7BAFDE", "#4EB265"),
    *("#90C987", "#CAE0AB", "#F7CB45", "#F4A736", "#EE8026", "#E65518", "#DC050C", "#A5170E", "#72190E", "#42150A"),
)
GREY = "#555555"


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, always the same for the same names. After twenty they repeat."""
    if len(names) <= len(EIGHT):
        return dict(zip(names, EIGHT, strict=False))
    num = min(len(names), len(TWENTY))
    spread = [TWENTY[(2 * index + 1) * len(TWENTY) // (2 * num)] for index in range(num)]  # as far apart as possible
    ordered = [*spread[::2], *spread[1::2]]  # and no neighbours in the legend
    return {name: ordered[index % num] for index, name in enumerate(names)}


def new_figure(
    *, width_in: float = 7.0, height_in: float = 4.0, rows: int = 1, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """An empty figure in the house style, and its axes row by row. Sizes in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def legend_below(figure: Figure, handles: Sequence[Artist], *, columns: int, **options: Any) -> None:
    """A legend under the axes."""
    figure.legend(
        handles=list(handles), loc="outside lower center", ncols=columns, fontsize=8, frameon=False, **options
    )


def sample(label: str, colour: str, **style: Any) -> Artist:
    """A line or marker for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, label=label, **style)


def heat_map(
    axis: Axes,
    values_RC: np.ndarray,
    *,
    rows: Sequence[str],
    colour_map: str,
    highest: float,
    texts: Mapping[tuple[int, int], str],
    aspect: Literal["auto", "equal"] = "auto",
) -> AxesImage:
    """Cells coloured from 0 to `highest`, with `texts` at (row, column) in black or white, whichever stands out. NaN: no
    colour. The caller labels the columns."""
    image = axis.imshow(values_RC, cmap=colour_map, vmin=0, vmax=highest, aspect=aspect, interpolation="nearest")
    axis.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axis.grid(False)
    for (row, column), text in texts.items():
        value = values_RC[row, column]
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = not np.isnan(value) and 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        colour = GREY if np.isnan(value) else "white" if dark else "black"
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    return image


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure, what it shows and the numbers behind it.

    Args:
        name: of its files, e.g. `layer_weights`.
        title: one line.
        note: how to read it and what it does not say, in a sentence or two.
        data: the numbers that are drawn, tidy: one observation per row.
    """

    name: str
    title: str
    note: str
    figure: Figure
    data: pd.DataFrame

    def __post_init__(self) -> None:
        """Freeze the figure: every constrained layout starts from the last one, so that a second picture would differ."""
        from matplotlib.text import Text

        for text in self.figure.findobj(Text):
            text.set_parse_math(False)  # names of runs and languages: a dollar sign is no formula
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    @property
    def width_px(self) -> float:
        """The width at which its text has the size of a page's (96 px to an inch)."""
        return 96 * float(self.figure.get_size_inches()[0])

    def svg(self) -> str:
        """The picture for the inside of an HTML page: without prologue, with ids that no other chart of the page has, one
        image named by the title for screen readers."""
        text = self._rendered("svg").decode("utf-8")
        text = f'<svg role="img" aria-label="{escape(self.title)}"' + text[text.index("<svg") + len("<svg") :]
        return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{self.name}-", text)

    def save(self, folder: Path) -> list[Path]:
        """Write `<name>.svg`, `<name>.png` and `<name>.csv`.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{self.name}.{suffix}" for suffix in ("svg", "png", "csv")]
        for path in paths[:2]:
            write_atomic(path, [self._rendered(path.suffix[1:])])
        write_atomic(paths[2], [csv(self.data)])
        return paths

    def _rendered(self, form: str) -> bytes:
        from matplotlib import rc_context

        buffer = io.BytesIO()
        # a fixed salt and no date: the same numbers give the same bytes
        with rc_context({**STYLE, "svg.hashsalt": self.name}):
            self.figure.savefig(buffer, format=form, metadata={"Date": None} if form == "svg" else None)
        return buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Figures, a short table, texts beside the figures (by file name), and remarks that the reader must know."""

    charts: Sequence[Chart]
    table: Cells
    texts: dict[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    synthetic: bool = False

    def save(self, folder: Path) -> Iterator[Path]:
        """Write figures and texts.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for chart in self.charts:
            yield from chart.save(folder)
        for name, text in self.texts.items():
            write_atomic(folder / name, [text])
            yield folder / name
