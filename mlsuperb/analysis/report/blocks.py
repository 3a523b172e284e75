"""What a page is made of. Everything here is plain text until the template escapes it; only figures are markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlsuperb.analysis.chart import Chart
from mlsuperb.scoring.marking import Kind
from mlsuperb.scoring.table import Cells

Tone = Literal["", "good", "bad", "weak"]
MAX_ROWS = 400  # of a table: more languages than ML-SUPERB 2.0 has


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`value` sorts (else the text does); `share` of the full width (0 to 100) draws a bar; `sub` is a second, smaller
    line."""

    text: str
    value: float | None = None
    share: float | None = None
    sub: str = ""
    tone: Tone = ""


class Block:
    """A part of a section. The template draws it by the macro with the name of its class, in small letters."""


@dataclass(frozen=True, kw_only=True)
class Note(Block):
    """A sentence or two; a `warning` stands in a box."""

    text: str
    tone: Literal["plain", "warning"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Warnings(Block):
    """What to know before believing a number, in one box."""

    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One large number with its name and what it means."""

    label: str
    value: str
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts(Block):
    """Headline numbers."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True, kw_only=True)
class Table(Block):
    """Rows of cells.

    Args:
        texts: titles of the columns that are aligned left (by default the first one); the others hold numbers.
        label: what a row is, for the filter.
        left_out: number of further rows, which are not shown.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    texts: tuple[str, ...] = ()
    sortable: bool = False
    filterable: bool = False
    label: str = "rows"
    note: str = ""
    left_out: int = 0

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column is aligned right."""
        return tuple(column not in (self.texts or self.columns[:1]) for column in self.columns)


@dataclass(frozen=True, kw_only=True)
class Figures(Block):
    """Figures beside each other where there is room; `wide` ones have a line of their own."""

    charts: tuple[Chart, ...]
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Pairs(Block):
    """Names and values under `title`; `closed`: behind a button that opens them."""

    title: str
    pairs: tuple[tuple[str, str], ...]
    closed: bool = True


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A stretch of an alignment: its reference, its hypothesis, and how they differ."""

    reference: str
    hypothesis: str
    mark: Kind


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """A hypothesis under its reference: `who` says whose it is (empty: the run's own); `direction` of the script. The pieces of a
    word stay on one line; where the script joins its letters (`joined`), they are not pulled apart into columns."""

    who: str
    direction: Literal["ltr", "rtl"]
    words: tuple[tuple[Piece, ...], ...]
    joined: bool
    reference: str
    hypothesis: str
    facts: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """One utterance: `sound` is a data URI; `silence` says why there is none, or that it is cut."""

    id: str
    heading: str
    facts: str
    aligned: tuple[Aligned, ...]
    sound: str = ""
    silence: str = ""


@dataclass(frozen=True, kw_only=True)
class Examples(Block):
    """Utterances to read and to listen to."""

    title: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what is under it."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report, made of `files`. `banner` stands above everything (synthetic data); `more` figures are files only."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    banner: str = ""
    more: tuple[Chart, ...] = ()
    files: str = "result.json and hypotheses.jsonl"

    @property
    def charts(self) -> list[Chart]:
        """All figures, in their order."""
        blocks = [block for section in self.sections for block in section.blocks]
        return [*self.more, *(chart for block in blocks if isinstance(block, Figures) for chart in block.charts)]


def number(value: float | None, *, digits: int = 1) -> Cell:
    """A number as a cell that sorts."""
    return Cell(text="n.a.") if value is None else Cell(text=f"{value:,.{digits}f}", value=value)


def bar(value: float | None, *, full: float) -> Cell:
    """A rate in % with a bar; `full` is what fills the cell."""
    if value is None:
        return Cell(text="n.a.")
    return Cell(text=f"{value:.1f}", value=value, share=min(100.0, 100 * value / full) if full else 0.0)


def from_cells(cells: Cells, *, name: str, note: str = "") -> Table:
    """A table of `mlsuperb.scoring.table`."""
    rows = tuple(tuple(Cell(text=text) for text in row) for row in cells.rows)
    names = cells.columns[: cells.num_names]
    return Table(name=name, title=cells.title, columns=cells.columns, rows=rows, texts=names, note=note)


def bounded(rows: Sequence[tuple[Cell, ...]]) -> tuple[tuple[tuple[Cell, ...], ...], int]:
    """The rows that a page shows, and how many it does not."""
    return tuple(rows[:MAX_ROWS]), max(0, len(rows) - MAX_ROWS)


def interval_cells(
    value: float, low: float, high: float, *, digits: int, tone: Tone = "", sub: str = ""
) -> tuple[Cell, Cell]:
    """A signed value and its interval; both are weak where the interval holds zero."""
    weak: Tone = "" if low > 0 or high < 0 else "weak"
    return (
        Cell(text=f"{value:+.{digits}f}", value=value, sub=sub, tone=weak or tone),
        Cell(text=f"{low:+.{digits}f} to {high:+.{digits}f}", tone=weak),
    )
