"""What a page is made of. Everything here is plain text until the template escapes it; only figures are markup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlsuperb.analysis.chart import Chart
from mlsuperb.scoring.marking import Kind
from mlsuperb.scoring.page.blocks import Block, Cell, Table, Tone
from mlsuperb.scoring.table import Cells

MONTHS = (  # whatever language the machine speaks
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
MAX_ROWS = 400  # of a table: more languages than ML-SUPERB 2.0 has


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One large number with its name and what it means."""

    label: str
    value: str
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts(Block):
    """Headline numbers; `small` ones are less tall."""

    facts: tuple[Fact, ...]
    small: bool = False


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
    """A stretch of an alignment: its reference, its hypothesis, and how they differ. `left_out`: characters of the hypothesis
    after it that are not shown."""

    reference: str
    hypothesis: str
    mark: Kind
    left_out: int = 0


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
    """One utterance: `sound` is a data URI; `silence` says why there is none and where it lies, or that it is cut."""

    id: str
    heading: str
    facts: str
    aligned: tuple[Aligned, ...]
    sound: str = ""
    silence: str = ""


@dataclass(frozen=True, kw_only=True)
class Examples(Block):
    """Utterances to read and to listen to, beside each other where there is room (`beside`) or below."""

    title: str
    examples: tuple[Example, ...]
    beside: bool = False


@dataclass(frozen=True, kw_only=True)
class Browser(Block):
    """Many utterances to filter and to sort; `browser.js` draws those that are asked for from `data` (JSON, as
    `mlsuperb.analysis.report.browser` makes it). Without scripts there is a sentence in its place.

    Args:
        rate: what an utterance's score is called; `rated`: whether it has one to sort by.
        named: whether a language was named.
    """

    title: str
    note: str
    data: str
    rate: str
    rated: bool
    named: bool


@dataclass(frozen=True, kw_only=True)
class Fold(Block):
    """Blocks behind a button that opens them."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Choice(Block):
    """Blocks of which one set is shown at a time. All choices of a page move together. Without scripts all sets are shown."""

    name: str
    label: str
    options: tuple[tuple[str, tuple[Block, ...]], ...]


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
        blocks = [inner for section in self.sections for block in section.blocks for inner in _within(block)]
        return [*self.more, *(chart for block in blocks if isinstance(block, Figures) for chart in block.charts)]


def _within(block: Block) -> Iterator[Block]:
    """The block, or those that it holds."""
    inside = block.blocks if isinstance(block, Fold) else ()
    if isinstance(block, Choice):
        inside = tuple(one for _, blocks in block.options for one in blocks)
    yield block
    for one in inside:
        yield from _within(one)


def spoken_date(text: str) -> str:
    """`28 November 2026, 19:57 UTC` of an ISO date; what is none stays as it is."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return text
    time = f", {date:%H:%M} {date.tzname() or ''}".rstrip() if "T" in text else ""
    return f"{date.day} {MONTHS[date.month - 1]} {date.year}{time}"


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
