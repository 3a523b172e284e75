"""One figure with the numbers in it: as a picture for papers, inline for a report, as a table for everything else."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mlsuperb.runtime.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def new_figure(
    *, width_in: float = 7.0, height_in: float = 4.0, rows: int = 1, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """An empty figure in the house style, and its axes row by row. Size in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure, what it shows and what it is made of.

    Args:
        name: of its files, e.g. `layer_weights`.
        title: one line.
        note: how to read it, and what it does not say; a sentence or two.
        data: the numbers that are drawn, tidy: one observation a row.
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

    def svg(self) -> str:
        """The picture for the inside of an HTML page: no prologue, ids that no other chart of the page has, one image named
        by the title for those who do not see it."""
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
            path.write_bytes(self._rendered(path.suffix[1:]))
        write_atomic(paths[2], [self.data.to_csv(index=False)])
        return paths

    def _rendered(self, form: str) -> bytes:
        from matplotlib import rc_context

        buffer = io.BytesIO()
        # a fixed salt and no date: the same numbers give the same bytes
        with rc_context({**STYLE, "svg.hashsalt": self.name}):
            self.figure.savefig(buffer, format=form, metadata={"Date": None} if form == "svg" else None)
        return buffer.getvalue()
