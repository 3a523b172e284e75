"""Our rows and the published ones: which may stand side by side, and how far apart they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlsuperb.scoring.boards.published import PublishedRow, published_rows
from mlsuperb.scoring.boards.rows import Row, slot_name
from mlsuperb.scoring.boards.superb_s import Board, boards

# Settings of an upstream that leave its weights what they are
SAME_WEIGHTS = ("revision", "dropout_while_frozen")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One column of ours against a published value, both in %."""

    column: str
    ours: float
    published: float
    row: PublishedRow

    @property
    def points(self) -> float:
        """Ours minus theirs."""
        return self.ours - self.published


def why_not_beside(row: Row, *, board: Board) -> list[str]:
    """Why a row without deviations may not stand beside published rows; empty where it may."""
    reasons: dict[str, str] = {}
    for entry in row.entries:
        for reason in _reasons(entry.result, board=board):
            reasons.setdefault(reason, slot_name((entry.track, entry.run)))
    return [f"{reason} ({place})" for reason, place in reasons.items()]


def _reasons(result: Mapping[str, Any], *, board: Board) -> Iterator[str]:
    if board.release:
        release = result["data"].get("release")
        if not release:
            yield f"its result names no release of the data, the published rows are of the {board.release}"
        elif release["name"] != board.release:
            yield f"the data are the {release['name']} release, the published rows are of the {board.release}"
        elif not release["whole"]:
            yield f"the {release['name']} release is not whole: {release['why']}"
    version = result["protocols"][board.protocol]["version"]
    if version != board.protocol_version:
        yield f"protocol {board.protocol} version {version}, the board is of {board.protocol_version}"
    if (version := result["scorer"]["version"]) != board.scorer_version:
        yield f"scorer version {version}, the board is of {board.scorer_version}"


def rows_of(board: Board, *, size: str) -> list[PublishedRow]:
    """The board's own rows."""
    return [row for row in published_rows() if row.board == board.name and row.size == size]


def same_system(row: Row, *, board: Board, size: str) -> list[PublishedRow]:
    """The published rows of a row's upstream, adaptation and settings, of any board with the same runs; the best known first:
    of this board, verified."""
    if row.deviations or _other_weights(row):
        return []
    found = [
        one
        for one in published_rows()
        if one.size == size
        and one.upstream == row.upstream
        and one.adaptation == row.adaptation
        and one.protocol == board.protocol
        and one.release == board.release
        and one.experiment in (None, row.experiment)
        and one.labels in (None, "cleaned")  # raw labels are a deviation of the corpus option
        and _same_runs(one, board=board)
    ]
    return sorted(found, key=lambda one: (one.board != board.name, not one.verified))


def _other_weights(row: Row) -> bool:
    changed = (entry.result["benchmark"].get("upstream", {}) for entry in row.entries)
    return any(set(settings) - set(SAME_WEIGHTS) for settings in changed)


def _same_runs(one: PublishedRow, *, board: Board) -> bool:
    if one.board is None:  # single numbers, of the 1.0 recipe
        return any(f"mono_{run}" in one.scores for run in board.mono_runs)
    return boards()[one.board].experiments == board.experiments


def differences(row: Row, *, board: Board, size: str) -> dict[str, Difference]:
    """Column -> difference from what was published of the same system, monolingual runs included."""
    found: dict[str, Difference] = {}
    for one in same_system(row, board=board, size=size):
        for column, value in one.scores.items():
            if column in row.scores and column not in found:
                found[column] = Difference(column=column, ours=row.scores[column].mean, published=value, row=one)
    return found


def check(rows: Sequence[Row], *, board: Board, size: str, tolerance: float) -> tuple[list[str], bool]:
    """Every column that was published of the same system, a line each, and whether all are within `tolerance` points.

    A check that found nothing to compare has not passed.
    """
    lines, passed, compared = [], True, 0
    titles = {column.name: column.title for column in board.columns}
    for row in rows:
        name = f"{row.upstream}, {row.adaptation}"
        if refused := _not_checked(row, board=board):
            lines.append(f"{name}: not checked, {refused}")
            continue
        found = differences(row, board=board, size=size)
        if not found:
            lines.append(f"{name}: nothing was published of it for {size}")
        for column, one in found.items():
            near = abs(one.points) <= tolerance
            passed, compared = passed and near, compared + 1
            title = titles.get(column, column.replace("_", " "))
            verdict = "within" if near else "FURTHER THAN"
            lines.append(
                f"{name}, {title}: {one.ours:.2f}, published {one.published:g} ({one.row.title}"
                f"{'' if one.row.verified else ', unverified'}), {one.points:+.2f}: {verdict} {tolerance:g} points"
            )
    if not compared:
        lines.append("no column could be compared with a published one, so the check has not passed")
    return lines, passed and compared > 0


def _not_checked(row: Row, *, board: Board) -> str:
    if row.synthetic:
        return "synthetic data"
    if row.deviations:
        return f"it deviates in {', '.join(row.deviations)}"
    return "; ".join(why_not_beside(row, board=board))
