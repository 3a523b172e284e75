"""The tables of a board: which rows stand together, in which order, and what each cell says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlsuperb.scoring.boards.beside import differences, rows_of, same_system, why_not_beside
from mlsuperb.scoring.boards.entries import Entry, shown_deviations
from mlsuperb.scoring.boards.published import PublishedRow
from mlsuperb.scoring.boards.rows import Row, Statistic
from mlsuperb.scoring.boards.superb_s import Board, superb_s
from mlsuperb.scoring.comparison.runs import differences as settings_that_differ
from mlsuperb.scoring.result import comparable
from mlsuperb.scoring.table import ABSENT, SYNTHETIC, Cells

OURS, PUBLISHED, ORIGIN = "ours", "published", "from"
SYNTHETIC_TABLE = "Synthetic data"
Facts = Callable[[Row], dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A table with what has to be said of it."""

    cells: Cells
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A row of a table, ours or published, with its score for the order."""

    whose: str
    system: str
    adaptation: str
    values: Mapping[str, Statistic]
    differences: Mapping[str, float]
    superb_s: Statistic | None
    origin: str
    facts: Mapping[str, str]


class BlockMaker:
    """Makes the blocks of one board."""

    def __init__(self, *, board: Board, size: str, labels: Mapping[int, str], facts: Facts) -> None:
        self.board, self.size, self.labels, self.facts = board, size, labels, facts
        self.scored = size in board.references

    def blocks(self, rows: Sequence[Row]) -> Iterator[tuple[Block, list[dict[str, str]]]]:
        """Beside published rows, on other data, with deviations, synthetic; each split into what is comparable."""
        real = [row for row in rows if not row.synthetic]
        apart = {id(row): why_not_beside(row, board=self.board) for row in real}
        beside = [row for row in real if not row.deviations and not apart[id(row)]]
        groups = _comparable_groups(beside)
        yield self._block("Published rows, and ours beside them", groups[0] if groups else [], published=True)
        for group in groups[1:]:
            yield self._block("Ours, on other data than the rows above", group, notes=[_other_data(groups[0], group)])
        for group in _comparable_groups([row for row in real if not row.deviations and apart[id(row)]]):
            notes = [f"{self.labels[id(row)]}: {'; '.join(apart[id(row)])}" for row in group]
            yield self._block("Ours, not comparable with published rows", group, notes=notes)
        for group in _comparable_groups([row for row in real if row.deviations]):
            notes = [f"{self.labels[id(row)]}: {'; '.join(shown_deviations(row.deviations))}" for row in group]
            yield self._block("Ours, with settings that were not published (published -> here)", group, notes=notes)
        for group in _comparable_groups([row for row in rows if row.synthetic]):
            deviating = [row for row in group if row.deviations]
            notes = [f"{self.labels[id(row)]}: {'; '.join(shown_deviations(row.deviations))}" for row in deviating]
            yield self._block(SYNTHETIC_TABLE, group, notes=[SYNTHETIC, *notes])

    def _block(
        self, title: str, rows: Sequence[Row], *, published: bool = False, notes: Sequence[str] = ()
    ) -> tuple[Block, list[dict[str, str]]]:
        lines = [self._ours(row, beside=published) for row in rows]
        if published:
            lines += [self._published(one) for one in self._published_rows(rows)]
        lines.sort(key=self._order)
        facts = list(dict.fromkeys(name for line in lines for name in line.facts))
        columns = ["", "system", "adaptation", *(column.heading for column in self.board.columns)]
        columns += ["SUPERB_s ↑"] if self.scored else []
        cells = Cells(
            f"{title} (board {self.board.name}, {self.size})",
            (*columns, *facts, *([ORIGIN] if published else [])),
            tuple(self._cells(line, facts, [line.origin] if published else []) for line in lines),
            num_names=3,
        )
        return Block(cells=cells, notes=tuple(notes)), [self._record(title, line) for line in lines]

    def _published_rows(self, rows: Sequence[Row]) -> list[PublishedRow]:
        """The board's own, and whole rows of other boards that one of ours is of, to be scored on this one."""
        own = rows_of(self.board, size=self.size)
        names = {column.name for column in self.board.columns}
        known = {one.upstream for one in own}
        others = [one for row in rows for one in same_system(row, board=self.board, size=self.size)]
        kept = {one.system: one for one in others if names <= set(one.scores) and one.upstream not in known}
        return [*own, *kept.values()]

    def _ours(self, row: Row, *, beside: bool) -> _Line:
        official = all(entry.result["official"] for entry in row.entries) and not row.holes
        found = differences(row, board=self.board, size=self.size) if beside else {}
        number = f", {len(row.seeds)} seeds" if len(row.seeds) > 1 else ""
        return _Line(
            whose=f"{OURS}{' (official)' if official else ''}{number}",
            system=self.labels[id(row)],
            adaptation=row.adaptation,
            values={column.name: row.scores[column.name] for column in self.board.columns if column.name in row.scores},
            differences={name: one.points for name, one in found.items()},
            superb_s=row.superb_s,
            origin="",
            facts=self.facts(row),
        )

    def _published(self, row: PublishedRow) -> _Line:
        at_home = row.board == self.board.name
        found = superb_s(row.scores, board=self.board, size=self.size).value
        score = row.superb_s if at_home and row.superb_s is not None else found  # as published: of unrounded columns
        here = "" if at_home else f", scored on board {self.board.name} here"
        if at_home and self.scored:
            here = (
                ", score calculated here"
                if row.superb_s is None
                else ""
                if row.superb_s_verified
                else ", score unverified"
            )
        return _Line(
            whose=PUBLISHED if row.verified else f"{PUBLISHED}, unverified",
            system=row.system,
            adaptation=row.adaptation,
            values={name: Statistic(values=(value,)) for name, value in row.scores.items()},
            differences={},
            superb_s=None if score is None else Statistic(values=(score,)),
            origin=f"{row.title}{here}",
            facts={},
        )

    def _order(self, line: _Line) -> tuple[bool, float, str]:
        first = self.board.columns[0]
        key = line.superb_s if self.scored else line.values.get(first.name)
        if key is None:
            return (True, -len(line.values), line.system)
        sign = 1 if not self.scored and first.better == "lower" else -1
        return (False, sign * key.mean, line.system)

    def _cells(self, line: _Line, facts: Sequence[str], origin: Sequence[str]) -> tuple[str, ...]:
        values = [self._text(line.values.get(c.name), line.differences.get(c.name)) for c in self.board.columns]
        values += [self._text(line.superb_s, None)] if self.scored else []
        further = (line.facts.get(name, "") for name in facts)
        return (line.whose, line.system, line.adaptation, *values, *further, *origin)

    def _text(self, value: Statistic | None, difference: float | None) -> str:
        if value is None:
            return ABSENT
        places = self.board.decimals
        spread = "" if value.sd is None else f" ± {value.sd:.{places}f}"
        return f"{value.mean:.{places}f}{spread}" + ("" if difference is None else f" ({difference:+.{places}f})")

    def _record(self, title: str, line: _Line) -> dict[str, str]:
        """For CSV: numbers in columns of their own."""
        record = {"board": self.board.name, "size": self.size, "table": title, "row": line.whose, "system": line.system}
        record |= {"synthetic": "yes" if title == SYNTHETIC_TABLE else "no", "adaptation": line.adaptation}
        for name in [*(column.name for column in self.board.columns), *(["superb_s"] if self.scored else [])]:
            value = line.superb_s if name == "superb_s" else line.values.get(name)
            record[name] = "" if value is None else f"{value.mean:.4f}"
            record[f"{name}_sd"] = "" if value is None or value.sd is None else f"{value.sd:.4f}"
            if name != "superb_s":
                record[f"{name}_difference"] = f"{line.differences[name]:.4f}" if name in line.differences else ""
        return record | dict(line.facts) | {ORIGIN: line.origin}


def labels_of(rows: Sequence[Row], *, board: Board) -> dict[int, str]:
    """Name of each row by its id: the upstream, the experiment where a board is of one run, and what tells it from a namesake."""
    names = {id(row): f"{row.upstream}{'' if len(board.tracks) > 1 else f', {row.experiment}'}" for row in rows}
    for name in set(names.values()):
        namesakes = [row for row in rows if names[id(row)] == name and row.entries]
        results = [row.entries[0].result for row in namesakes]
        if len(results) < 2:
            continue
        paths = dict.fromkeys(path for row in namesakes for path in row.deviations if "adaptation" not in path)
        settings = [
            {
                "upstream": {**result["upstream"].get("settings", {}), **result["upstream"].get("loaded", {})},
                "adaptation": result["adaptation"].get("settings", {}),
                "settings": {path: row.deviations.get(path, ("", "as published"))[1] for path in paths},
                "data": {"release": str((result["data"].get("release") or {}).get("name"))},
            }
            for row, result in zip(namesakes, results, strict=True)
        ]
        found = settings_that_differ(settings, hidden=())
        for index, row in enumerate(namesakes):
            told = [
                f"{path.removeprefix('settings.')}={values[index]}" for path, values in found.items() if values[index]
            ]
            names[id(row)] += f" [{', '.join(told)}]" if told else ""
    return names


def _comparable_groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that may stand in one table: every run that two of them share is on the same data, scored the same way."""
    groups: list[list[Row]] = []
    for row in rows:
        fitting = next((group for group in groups if all(not _against(other, row) for other in group)), None)
        if fitting is None:
            groups.append([row])
        else:
            fitting.append(row)
    return groups


def _against(first: Row, second: Row) -> list[str]:
    def by_slot(row: Row) -> dict[Any, Entry]:
        return dict(row.seeds[0].entries)

    shared = by_slot(first).keys() & by_slot(second).keys()
    return [
        reason
        for slot in sorted(shared, key=str)
        for reason in comparable(by_slot(first)[slot].result, by_slot(second)[slot].result)
    ]


def _other_data(first: Sequence[Row], second: Sequence[Row]) -> str:
    reasons = [reason for one in first for other in second for reason in _against(one, other)]
    return f"Not comparable with ours above: {reasons[0]}" if reasons else ""
