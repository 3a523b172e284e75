"""Tables that fit a terminal without breaking words: what is the same in all rows is said once, columns that do not fit go
below, and where not even two columns fit, each row is a short list."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mlsuperb.runtime.messages import printable

GAP = 2  # columns of the terminal between two of a narrow table
COMFORTABLE = 18  # columns of the terminal for texts of several lines, where they are so long
_NUMBER = re.compile(r"([+−-]?\d.*|n\.a\.)?", re.DOTALL)


def shown(text: str, *, but: str = "", style: str = "") -> Text:
    """Text for a terminal as it is: brackets and colons in it are no markup and no emoji, and control characters except `but`
    are written out."""
    return Text(printable(text, but=but), style=style)


@dataclass(frozen=True)
class Column:
    """A column: title, cells, whether it holds names (aligned to the left) rather than numbers."""

    title: str
    cells: tuple[str, ...]
    is_name: bool

    @property
    def widest(self) -> int:
        """Width without line breaks."""
        return max(cell_len(printable(text, but="")) for text in (self.title, *self.cells))

    @property
    def narrowest(self) -> int:
        """Width with line breaks between words: in the title and in texts, but not in numbers with what belongs to them."""
        words = [word for text in (self.title, *self.cells) for word in text.split()]
        least = max(
            (cell_len(printable(text, but="")) for text in (*words, *(() if self.wraps else self.cells))), default=0
        )
        return max(least, min(self.widest, COMFORTABLE)) if self.wraps else least

    @property
    def wraps(self) -> bool:
        """Whether its cells are texts, which may have several lines."""
        return self.is_name or not all(map(_NUMBER.fullmatch, self.cells))

    @property
    def is_same(self) -> bool:
        """Whether all rows, two or more, have the same."""
        return len(self.cells) > 1 and len(set(self.cells)) == 1


@dataclass(frozen=True)
class FittedTable:
    """A table for `rich`. Where there is room, it is rich's own. `bold`: numbers of the rows that stand out."""

    title: str
    columns: tuple[Column, ...]
    bold: frozenset[int]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        if sum(column.widest + 3 for column in self.columns) < width:
            yield self._wide()
            return
        yield shown(self.title, style="table.title")
        kept = self._different()
        if same := [column for column in self.columns if column not in kept]:
            told = "; ".join(f"{column.title} {column.cells[0]}".strip() or "nothing" for column in same)
            yield shown(f"In all rows: {told}")
        names = [column for column in kept if column.is_name and column is not kept[-1]] or kept[:1]
        others = [column for column in kept if column not in names]
        room = width - _width(names) - GAP
        if others and max(column.narrowest for column in others) > room:
            yield from self._records(kept, width)
            return
        for group in _groups(others, room):
            yield self._narrow([*names, *group], width)
            yield ""

    def _wide(self) -> Table:
        table = Table(title=shown(self.title, style="table.title"), title_justify="left")
        self._fill(table, self.columns)
        return table

    def _narrow(self, columns: Sequence[Column], width: int) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, GAP - 1, 0, 0), pad_edge=False)
        spare = width - _width(columns)
        self._fill(table, columns, least=True, spare=spare)
        return table

    def _fill(self, table: Table, columns: Sequence[Column], *, least: bool = False, spare: int = 0) -> None:
        for column in columns:
            more = min(spare, column.widest - column.narrowest) if column.wraps else 0
            spare -= more
            table.add_column(
                shown(column.title),
                justify="left" if column.is_name else "right",
                width=column.narrowest + more if least else None,
                overflow="fold",
            )
        for number in range(len(columns[0].cells)):
            cells = [shown(column.cells[number]) for column in columns]
            table.add_row(*cells, style="bold" if self._is_bold(number) else None)

    def _records(self, columns: Sequence[Column], width: int) -> Iterator[Text]:
        """Each row: its first name on a line of its own, the rest below it, as many to a line as fit."""
        for number in range(len(columns[0].cells)):
            yield shown(columns[0].cells[number], style="bold")
            facts = [f"{one.title} {one.cells[number]}".strip() for one in columns[1:] if one.cells[number]]
            for line in _lines(facts, width - GAP):
                yield shown(" " * GAP + line)

    def _different(self) -> list[Column]:
        """Without columns that are the same in all rows; names and numbers keep one at least."""
        different = [column for column in self.columns if not column.is_same]
        if not any(column.is_name for column in different):
            different.insert(0, next((column for column in self.columns if column.title), self.columns[0]))
        return different if len(different) > 1 else list(self.columns)

    def _is_bold(self, number: int) -> bool:
        return number in self.bold or self.columns[0].cells[number] == "total"


def _width(columns: Sequence[Column]) -> int:
    return sum(column.narrowest + GAP for column in columns) - GAP


def _groups(columns: Sequence[Column], room: int) -> list[list[Column]]:
    """Columns that stand beside each other: as few groups as possible, then as even as possible."""
    fewest = len(_filled(columns, room))
    narrowest = next(width for width in range(room + 1) if len(_filled(columns, width)) == fewest)
    return _filled(columns, narrowest)


def _filled(columns: Sequence[Column], room: int) -> list[list[Column]]:
    groups: list[list[Column]] = [[]]
    for column in columns:
        if groups[-1] and _width([*groups[-1], column]) > room:
            groups.append([])
        groups[-1].append(column)
    return groups


def _lines(texts: Sequence[str], room: int) -> Iterator[str]:
    line = ""
    for text in texts:
        longer = f"{line}; {text}" if line else text
        if line and cell_len(longer) > room:
            yield f"{line};"
            longer = text
        line = longer
    if line:
        yield line
