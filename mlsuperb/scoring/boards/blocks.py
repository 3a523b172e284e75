"""The tables of a board: which rows stand together, in which order, and what each cell says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlsuperb.scoring.boards.beside import counterparts, same_system, why_not_beside
from mlsuperb.scoring.boards.entries import shown_deviations
from mlsuperb.scoring.boards.published import PublishedRow, published_rows
from mlsuperb.scoring.boards.rows import SCORE, Row, Statistic, differences
from mlsuperb.scoring.boards.superb_s import Board, superb_s
from mlsuperb.scoring.counts import grouped
from mlsuperb.scoring.table import ABSENT, ARROWS, SYNTHETIC, Cells

OURS, PUBLISHED, ORIGIN = "ours", "published", "from"
NAMES = ("", "system", "adaptation")  # columns before the scores
BESIDE, OTHER_DATA = "Published rows, and ours beside them", "Ours, on other data than the rows above"
APART = "Ours, not comparable with published rows"
DEVIATING = "Ours, with settings that were not published (published -> here)"
SYNTHETIC_TABLE = "Synthetic data"
Facts = Callable[[Row], dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A table with its notes. `records` are its rows as plain values, numbers in columns of their own; `ranks` the places of the
    rows; `values`: the number of each cell, for those that hold one."""

    cells: Cells
    notes: tuple[str, ...]
    records: tuple[dict[str, str], ...]
    ranks: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A row of a table, ours or published. `points`: ours minus published, by column."""

    whose: str
    system: str
    adaptation: str
    scores: Mapping[str, Statistic]
    points: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""


class BlockMaker:
    """Makes the tables of one board. `facts`: heading -> text of a row, for further columns."""

    def __init__(self, *, board: Board, size: str, facts: Facts) -> None:
        self.board, self.size, self.facts = board, size, facts
        self.headings = {column.name: column.heading for column in board.columns}
        if size in board.references:
            self.headings[SCORE] = "SUPERB_s ↑"

    def blocks(self, rows: Sequence[Row]) -> Iterator[Block]:
        """Rows beside published ones, on other data, not comparable, with deviations, synthetic; each table holds rows that are
        comparable with each other."""
        placed = grouped(rows, lambda row: self._place(row)[0])
        beside, *others = _comparable_groups(placed.get(BESIDE, [])) or [[]]
        yield self._block(BESIDE, beside)
        for group in others:
            yield self._block(OTHER_DATA, group, f"Not comparable with ours above: {_first_difference(beside, group)}")
        for title in (APART, DEVIATING, SYNTHETIC_TABLE):
            for group in _comparable_groups(placed.get(title, [])):
                notes = [f"{row.label}: {note}" for row in group if (note := self._place(row)[1])]
                yield self._block(title, group, *([SYNTHETIC] if title == SYNTHETIC_TABLE else []), *notes)

    def _place(self, row: Row) -> tuple[str, str]:
        """Title of the table for a row, and the reason."""
        deviations = "; ".join(shown_deviations(row.deviations))
        if row.synthetic or deviations:
            return SYNTHETIC_TABLE if row.synthetic else DEVIATING, deviations
        reasons = "; ".join(why_not_beside(row, board=self.board))
        return APART if reasons else BESIDE, reasons

    def _block(self, title: str, rows: Sequence[Row], *notes: str) -> Block:
        lines = [self._ours(row, beside=title == BESIDE) for row in rows]
        if title == BESIDE:
            lines += map(self._published, self._published_rows(rows))
        lines.sort(key=self._order)
        facts = list(dict.fromkeys(name for line in lines for name in line.facts))
        origin = [ORIGIN] if title == BESIDE else []
        columns = (*NAMES, *self.headings.values(), *facts, *origin)
        ranks = self._ranks(lines)
        cells = Cells(
            f"{title} (board {self.board.name}, {self.size})",
            columns,
            tuple(self._cells(line, facts)[: len(columns)] for line in lines),
            num_names=len(NAMES),
            bold=frozenset(number for number, line in enumerate(lines) if line.whose.startswith(OURS)),
            last_is_name=bool(origin),
            best=frozenset(self._best(lines)),
        )
        records = ({**self._record(title, line), "rank": rank} for rank, line in zip(ranks, lines, strict=True))
        values = (self._values(line, num=len(columns)) for line in lines)
        return Block(cells=cells, notes=notes, records=tuple(records), ranks=tuple(ranks), values=tuple(values))

    def _ranks(self, lines: Sequence[_Line]) -> list[str]:
        """The place of each line by what they are sorted by, from 1; equal ones share it, those without a value have none."""
        keys = [self._order(line)[:2] for line in lines]
        return ["" if absent else str(1 + keys.index((absent, value))) for absent, value in keys]

    def _best(self, lines: Sequence[_Line]) -> Iterator[tuple[int, int]]:
        """Row and column of the best value of each column of scores, where there are several; all of equal ones."""
        for place, (name, heading) in enumerate(self.headings.items(), start=len(NAMES)):
            means = {row: line.scores[name].mean for row, line in enumerate(lines) if name in line.scores}
            shown = {row: round(mean, self.board.decimals) for row, mean in means.items()}
            best = (max if heading.endswith(ARROWS["higher"]) else min)(shown.values(), default=None)
            yield from ((row, place) for row, value in shown.items() if value == best and len(shown) > 1)

    def _values(self, line: _Line, *, num: int) -> tuple[float | None, ...]:
        scores = [line.scores[name].mean if name in line.scores else None for name in self.headings]
        return (*[None] * len(NAMES), *scores, *[None] * (num - len(NAMES) - len(scores)))

    def _published_rows(self, rows: Sequence[Row]) -> list[PublishedRow]:
        """The board's own rows, and complete rows of other boards that are of a system among `rows`."""
        own = [one for one in published_rows() if (one.board, one.size) == (self.board.name, self.size)]
        names = {column.name for column in self.board.columns}
        known = {one.upstream for one in own}
        others = [one for row in rows for one in same_system(row, board=self.board, size=self.size)]
        kept = {one.system: one for one in others if names <= set(one.scores) and one.upstream not in known}
        return [*own, *kept.values()]

    def _ours(self, row: Row, *, beside: bool) -> _Line:
        official = all(entry.result.official for entry in row.entries) and not row.first.holes
        number = f", {len(row.seeds)} seeds" if len(row.seeds) > 1 else ""
        found = counterparts(row, board=self.board, size=self.size) if beside else {}
        return _Line(
            whose=f"{OURS}{' (official)' if official else ''}{number}",
            system=row.label,
            adaptation=row.adaptation,
            scores=row.scores,
            points={name: row.scores[name].mean - one.scores[name] for name, one in found.items()},
            facts=self.facts(row),
        )

    def _published(self, row: PublishedRow) -> _Line:
        at_home = row.board == self.board.name
        score = row.superb_s if at_home else None  # as published: calculated from unrounded columns
        note = "" if at_home else f", scored on board {self.board.name} here"
        if at_home and SCORE in self.headings and not (score is not None and row.superb_s_verified):
            note = ", score calculated here" if score is None else ", score unverified"
        if score is None:
            score = superb_s(row.scores, board=self.board, size=self.size)
        scores = row.scores if score is None else {**row.scores, SCORE: score}
        return _Line(
            whose=PUBLISHED if row.verified else f"{PUBLISHED}, unverified",
            system=row.system,
            adaptation=row.adaptation,
            scores={name: Statistic(values=(value,)) for name, value in scores.items()},
            origin=row.title + note,
        )

    def _order(self, line: _Line) -> tuple[bool, float, str]:
        """By SUPERB_s, or else by the first column; the best first, those without a value last."""
        first = self.board.columns[0]
        name, lower = (SCORE, False) if SCORE in self.headings else (first.name, first.better == "lower")
        if name not in line.scores:
            return True, -len(self.headings.keys() & line.scores.keys()), line.system
        return False, line.scores[name].mean * (1 if lower else -1), line.system

    def _cells(self, line: _Line, facts: Sequence[str]) -> tuple[str, ...]:
        scores = (self._text(line.scores.get(name), line.points.get(name)) for name in self.headings)
        further = (line.facts.get(name, "") for name in facts)
        return (line.whose, line.system, line.adaptation, *scores, *further, line.origin)

    def _text(self, score: Statistic | None, points: float | None) -> str:
        if score is None:
            return ABSENT
        places = self.board.decimals
        spread = "" if score.sd is None else f" ± {score.sd:.{places}f}"
        return f"{score.mean:.{places}f}{spread}" + ("" if points is None else f" ({points:+.{places}f})")

    def _record(self, title: str, line: _Line) -> dict[str, str]:
        record = {"board": self.board.name, "size": self.size, "table": title, "row": line.whose, "system": line.system}
        record |= {"synthetic": "yes" if title == SYNTHETIC_TABLE else "no", "adaptation": line.adaptation}
        for name in self.headings:
            score, points = line.scores.get(name), line.points.get(name)
            record[name] = "" if score is None else f"{score.mean:.4f}"
            record[f"{name}_sd"] = "" if score is None or score.sd is None else f"{score.sd:.4f}"
            if name != SCORE:
                record[f"{name}_difference"] = "" if points is None else f"{points:.4f}"
        return record | dict(line.facts) | {ORIGIN: line.origin}


def _comparable_groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that may stand in one table: every run that two of them share is on the same data, scored the same way."""
    groups: list[list[Row]] = []
    for row in rows:
        fitting = next((group for group in groups if not _first_difference(group, [row])), None)
        if fitting is None:
            groups.append([row])
        else:
            fitting.append(row)
    return groups


def _first_difference(some: Sequence[Row], others: Sequence[Row]) -> str:
    """Why rows may not stand in one table; an empty string where they may."""
    pairs = ((one.first, other.first) for one in some for other in others)
    return next((reason for pair in pairs for reason in differences(*pair)), "")
