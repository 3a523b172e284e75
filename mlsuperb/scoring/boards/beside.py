"""Our rows and the published ones: which may stand side by side, and how far apart they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlsuperb.scoring.boards.entries import slot_name
from mlsuperb.scoring.boards.published import PublishedRow, published_rows
from mlsuperb.scoring.boards.rows import Row
from mlsuperb.scoring.boards.superb_s import Board, boards
from mlsuperb.scoring.result import BenchmarkResult

SAME_WEIGHTS = ("revision", "dropout_while_frozen")  # settings of an upstream that leave its weights what they are


def why_not_beside(row: Row, *, board: Board) -> list[str]:
    """Why a row without deviations may not stand beside published rows; empty where it may."""
    reasons: dict[str, str] = {}
    for entry in row.entries:
        for reason in _reasons(entry.result, board=board):
            reasons.setdefault(reason, slot_name(entry.slot))
    return [f"{reason} ({place})" for reason, place in reasons.items()]


def _reasons(result: BenchmarkResult, *, board: Board) -> Iterator[str]:
    release = result.data.release
    if board.release and release is None:
        yield f"its result does not name a release of the data, and the published rows use the {board.release}"
    elif board.release and release:
        if release.name != board.release:
            yield f"the data are the {release.name} release, and the published rows use the {board.release}"
        elif not release.whole:
            yield f"the {release.name} release is not complete: {release.why}"
    version = result.protocols.sections[board.protocol].version
    if version != board.protocol_version:
        yield f"protocol {board.protocol} version {version}, and the board uses {board.protocol_version}"
    if result.scorer.version != board.scorer_version:
        yield f"scorer version {result.scorer.version}, and the board uses {board.scorer_version}"


def same_system(row: Row, *, board: Board, size: str) -> list[PublishedRow]:
    """Published rows of the same upstream, adaptation and settings, of any board with the same runs; those of this board
    first, verified ones before others."""
    other_weights = any(set(entry.published.upstream) - set(SAME_WEIGHTS) for entry in row.entries)
    if row.deviations or other_weights:
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


def _same_runs(one: PublishedRow, *, board: Board) -> bool:
    if one.board is None:  # single numbers of the 1.0 recipe
        return any(f"mono_{run}" in one.scores for run in board.mono_runs)
    return boards()[one.board].experiments == board.experiments


def counterparts(row: Row, *, board: Board, size: str) -> dict[str, PublishedRow]:
    """Column -> the best known published row of the same system, for all columns of `row` and its monolingual runs."""
    found: dict[str, PublishedRow] = {}
    for one in same_system(row, board=board, size=size):
        found = {column: one for column in one.scores if column in row.scores} | found
    return found


def check(rows: Sequence[Row], *, board: Board, size: str, tolerance: float) -> tuple[list[str], bool]:
    """Compare every column with what was published of the same system: one line each, and whether all are within
    `tolerance` points. A check that found nothing to compare has not passed."""
    lines, passed = [], []
    titles = {column.name: column.title for column in board.columns}
    for row in rows:
        name = f"{row.upstream}, {row.adaptation}"
        if refused := _not_checked(row, board=board):
            lines.append(f"{name}: not checked, {refused}")
            continue
        found = counterparts(row, board=board, size=size)
        if not found:
            lines.append(f"{name}: nothing was published of it for {size}")
        for column, one in found.items():
            ours, published = row.scores[column].mean, one.scores[column]
            passed.append(abs(ours - published) <= tolerance)
            lines.append(
                f"{name}, {titles.get(column, column.replace('_', ' '))}: {ours:.2f}, published {published:g} ({one.title}"
                f"{'' if one.verified else ', unverified'}), {ours - published:+.2f}: "
                f"{'within' if passed[-1] else 'MORE THAN'} {tolerance:g} points"
            )
    if not passed:
        lines.append("no column could be compared with a published one, so the check has not passed")
    return lines, bool(passed) and all(passed)


def _not_checked(row: Row, *, board: Board) -> str:
    if row.synthetic:
        return "synthetic data"
    if row.deviations:
        return f"it deviates in {', '.join(row.deviations)}"
    return "; ".join(why_not_beside(row, board=board))
