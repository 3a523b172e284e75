"""Blocks that any page may hold. Everything here is plain text until the template escapes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Tone = Literal["", "good", "bad", "weak", "best"]
FOLDED = 15  # rows of a long table that stand there at first, where there is a button for the others


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
class Table(Block):
    """Rows of cells.

    Args:
        texts: titles of the columns that are aligned left (by default the first one); the others hold numbers.
        label: what rows are, for the filter: a plural that ends in s.
        left_out: number of further rows, which are not shown.
        marked: numbers of rows that stand out.
        level: of the title among the page's headings.
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
    marked: frozenset[int] = frozenset()
    level: int = 3
    folded: ClassVar[int] = FOLDED

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column is aligned right."""
        return tuple(column not in (self.texts or self.columns[:1]) for column in self.columns)


def number(value: float | None, *, digits: int = 1) -> Cell:
    """A number as a cell that sorts."""
    return Cell(text="n.a.") if value is None else Cell(text=f"{value:,.{digits}f}", value=value)


def bar(value: float | None, *, full: float) -> Cell:
    """A rate in % with a bar; `full` is what fills the cell."""
    if value is None:
        return Cell(text="n.a.")
    return Cell(text=f"{value:.1f}", value=value, share=min(100.0, 100 * value / full) if full else 0.0)
