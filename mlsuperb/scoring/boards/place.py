"""One run among the published rows of its track, or why it may not stand there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlsuperb.scoring.boards.beside import why_not_beside
from mlsuperb.scoring.boards.entries import Entry, mono_column, shown_deviations, take
from mlsuperb.scoring.boards.published import PublishedRow, published_rows
from mlsuperb.scoring.boards.rows import make_rows
from mlsuperb.scoring.boards.superb_s import ANY_SIZE, MONO, Board, Column, boards
from mlsuperb.scoring.result import BenchmarkResult


@dataclass(frozen=True, kw_only=True)
class PlacedRow:
    """A row with some figures of a board, in %, by column; `title`: the publication, empty for the run itself."""

    system: str
    adaptation: str
    scores: Mapping[str, float]
    title: str = ""
    verified: bool = True


@dataclass(frozen=True, kw_only=True)
class Place:
    """The rows of a board that have a figure in `columns`, those of the run's track; the best in the first column comes first."""

    board: Board
    size: str
    columns: Sequence[Column]
    rows: Sequence[PlacedRow]

    @property
    def rank(self) -> int:
        """The run's place, from 1."""
        return 1 + next(number for number, row in enumerate(self.rows) if not row.title)


def place(result: BenchmarkResult) -> Place | str:
    """Where a run stands on the first board that it may stand on, or the reason why it stands on none."""
    published = result.benchmark
    if published is None:
        return "its settings are those of no published experiment"
    if result.synthetic:
        return "the data are synthetic"
    sizes = {board.name: published.size if published.size in board.sizes else ANY_SIZE for board in boards().values()}
    fitting = [
        board
        for board in boards().values()
        if published.experiment.startswith(board.experiments) and sizes[board.name] in board.sizes
    ]
    reasons: list[str] = []
    for board in fitting:
        entries, left_out = take({Path(): result}, board=board, size=sizes[board.name])
        reasons += left_out.values()
        for entry in entries:
            if not (why := _why_not(entry, board=board, size=sizes[board.name])):
                return _placed(entry, board=board, size=sizes[board.name])
            reasons.append(why)
    return reasons[0] if reasons else f"nothing was published for +exp={published.experiment} of this size"


def _why_not(entry: Entry, *, board: Board, size: str) -> str:
    if deviations := shown_deviations(entry.published.deviations):
        return f"settings deviate from the published ones ({'; '.join(deviations)})"
    if not entry.scores:
        return "; ".join(f"{column}: {why}" for column, why in entry.holes.items())
    [row] = make_rows([entry], board=board, size=size)
    return "; ".join(why_not_beside(row, board=board))


def _placed(entry: Entry, *, board: Board, size: str) -> Place:
    columns = list(_columns(entry, board=board))
    names = [column.name for column in columns]
    own = PlacedRow(
        system=entry.result.upstream.name,
        adaptation=entry.result.adaptation.name,
        scores={name: entry.scores[name] for name in names},
    )
    others = [
        PlacedRow(
            system=one.system, adaptation=one.adaptation, scores=one.scores, title=one.title, verified=one.verified
        )
        for one in published_rows()
        if _is_of(one, board=board, size=size) and names[0] in one.scores
    ]
    sign = 1 if columns[0].better == "lower" else -1
    rows = sorted([own, *others], key=lambda row: sign * row.scores[names[0]])
    return Place(board=board, size=size, columns=columns, rows=rows)


def _columns(entry: Entry, *, board: Board) -> Iterator[Column]:
    """The columns in which the run has a figure; a monolingual run has one that no board shows by itself."""
    if entry.published.track != MONO:
        yield from (column for column in board.columns if column.name in entry.scores)
        return
    run = entry.published.run
    rate = "PER" if run in board.phoneme_runs else "CER"
    yield Column(name=mono_column(run), title=f"{rate} of {run}", track=MONO, better="lower")


def _is_of(one: PublishedRow, *, board: Board, size: str) -> bool:
    """Whether a published row is the board's, or of no board and measured in the same way."""
    if one.size != size or one.labels == "raw":
        return False
    return one.board == board.name or (
        one.board is None and (one.protocol, one.release) == (board.protocol, board.release)
    )
