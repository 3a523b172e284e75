"""What a page is made of. Everything here is plain text until the template escapes it; only figures are markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from mlsuperb.analysis.chart import Chart
from mlsuperb.scoring.table import Cells

MAX_ROWS = 400  # of a table: more languages than ML-SUPERB 2.0 has

Tone = Literal["plain", "warning"]
Mark = Literal["equal", "substituted", "deleted", "inserted"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`value` sorts (else the text does); `share` of the full width (0 to 100) draws a bar; `sub` is a second, smaller
    line."""

    text: str
    value: float | None = None
    share: float | None = None
    sub: str = ""
    tone: Literal["", "good", "bad", "weak"] = ""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A sentence or two; a `warning` stands in a box."""

    kind: ClassVar[str] = "note"
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, kw_only=True)
class Warnings:
    """What to know before believing a number, in one box."""

    kind: ClassVar[str] = "warnings"
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One large number with its name and what it means."""

    label: str
    value: str
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Headline numbers."""

    kind: ClassVar[str] = "facts"
    facts: tuple[Fact, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """`numeric` tells of each column whether it is right-aligned; `left_out` rows are not in `rows`. `label` names what a row
    is, for the filter."""

    kind: ClassVar[str] = "table"
    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: tuple[bool, ...]
    sortable: bool = False
    filterable: bool = False
    label: str = "rows"
    note: str = ""
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures beside each other where there is room; `wide` ones have a line of their own."""

    kind: ClassVar[str] = "figures"
    charts: tuple[Chart, ...]
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Names and values under `title`; `closed`: behind a button that opens them."""

    kind: ClassVar[str] = "pairs"
    title: str
    pairs: tuple[tuple[str, str], ...]
    closed: bool = True


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A stretch of an alignment: what stands in the reference, what in the hypothesis, how they differ."""

    reference: str
    hypothesis: str
    mark: Mark


@dataclass(frozen=True, kw_only=True)
class Word:
    """Aligned pieces that stay on one line. `joined`: the script joins its letters, so pieces are not pulled apart into
    columns."""

    pieces: tuple[Piece, ...]
    joined: bool = False


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """A hypothesis under its reference: `who` says whose it is (empty: the run's own); `direction` of the script."""

    who: str
    direction: Literal["ltr", "rtl"]
    words: tuple[Word, ...]
    reference: str
    hypothesis: str
    facts: str = ""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One utterance: `sound` is a data URI, or `silence` says why there is none."""

    id: str
    heading: str
    facts: str
    aligned: tuple[Aligned, ...]
    sound: str = ""
    silence: str = ""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Utterances to read and to listen to."""

    kind: ClassVar[str] = "examples"
    title: str
    examples: tuple[Example, ...]


Block = Note | Warnings | Facts | Table | Figures | Pairs | Examples


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what is under it."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report. `banner` stands above everything (synthetic data)."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    banner: str = ""
    charts: tuple[Chart, ...] = field(default=())  # for files of their own, those of the sections included


def text_cells(*texts: str) -> tuple[Cell, ...]:
    """A row of plain cells."""
    return tuple(Cell(text=text) for text in texts)


def number(value: float | None, *, digits: int = 1, absent: str = "n.a.") -> Cell:
    """A number as a cell that sorts."""
    return Cell(text=absent) if value is None else Cell(text=f"{value:,.{digits}f}", value=value)


def bar(value: float | None, *, full: float, sub: str = "") -> Cell:
    """A rate in % with a bar; `full` is what fills the cell."""
    if value is None:
        return Cell(text="n.a.")
    return Cell(text=f"{value:.1f}", value=value, share=min(100.0, 100 * value / full) if full else 0.0, sub=sub)


def from_cells(cells: Cells, *, name: str, note: str = "") -> Table:
    """A table of `mlsuperb.scoring.table`."""
    numeric = tuple(place >= cells.num_names for place in range(len(cells.columns)))
    return Table(
        name=name,
        title=cells.title,
        columns=cells.columns,
        rows=tuple(text_cells(*row) for row in cells.rows),
        numeric=numeric,
        note=note,
    )


def bounded(rows: Sequence[tuple[Cell, ...]]) -> tuple[tuple[tuple[Cell, ...], ...], int]:
    """The rows that a page shows, and how many it does not."""
    return tuple(rows[:MAX_ROWS]), max(0, len(rows) - MAX_ROWS)
