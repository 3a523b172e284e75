"""Results that may take part in a board, and why the others may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsuperb.scoring.boards.superb_s import ANY_SIZE, MONO, Board
from mlsuperb.scoring.comparison.selection import LEARNING_RATE, dev_figure, value_of
from mlsuperb.scoring.result import BenchmarkResult, Published

FINISHED = "finished"
Slot = tuple[str, str | None]  # what a run stands for on a board: a track, and of the monolingual track which run


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A result of a track of a board.

    Args:
        published: the experiment that it is a run of.
        scores: column -> %; a monolingual run has the one column `mono_<run>`.
        holes: column -> why it has no value.
    """

    folder: Path
    result: BenchmarkResult
    published: Published
    scores: Mapping[str, float]
    holes: Mapping[str, str]

    @property
    def slot(self) -> Slot:
        """Which of the board's runs it is."""
        track = self.published.track
        return track, self.published.run if track == MONO else None

    @property
    def learning_rate(self) -> float | None:
        """Learning rate of the optimiser."""
        rate: float | None = value_of(self.result.config, LEARNING_RATE)
        return rate

    @property
    def dev_figure(self) -> float:
        """The figure that `mlsuperb table --best` chooses by; infinite without validation."""
        try:
            return dev_figure(self.result)
        except ValueError:
            return float("inf")


def slot_name(slot: Slot) -> str:
    """`mono swe` or `asr_lid`."""
    return f"mono {slot[1]}" if slot[0] == MONO else slot[0]


def mono_column(run: str | None) -> str:
    """Column of one monolingual run."""
    return f"mono_{run}"


def take(results: Mapping[Path, BenchmarkResult], *, board: Board, size: str) -> tuple[list[Entry], dict[Path, str]]:
    """The entries of `board` and `size` among `results`, and the reason for every folder that gives none."""
    entries, left_out = [], {}
    for folder, result in results.items():
        reason = next(_objections(result, board=board, size=size), None)
        if reason is not None or result.benchmark is None:
            left_out[folder] = reason or "its settings come from no published experiment (its result has no benchmark)"
        else:
            entries.append(_entry(folder, result, result.benchmark, board=board))
    return entries, left_out


def _objections(result: BenchmarkResult, *, board: Board, size: str) -> Iterator[str]:
    if result.status != FINISHED:
        yield f"not finished ({result.status})"
    if (published := result.benchmark) is None:
        return
    if not published.experiment.startswith(board.experiments):
        yield f"+exp={published.experiment} is not an experiment of board {board.name} ({board.experiments}...)"
    if published.track not in board.tracks:
        yield f"board {board.name} has no track {published.track}"
    if size not in (ANY_SIZE, published.size):
        yield f"size {published.size}, but the table is for {size}"
    if board.data and not result.synthetic and result.data.name != board.data:
        yield f"data={result.data.name}, but board {board.name} is for data={board.data}"
    if board.protocol not in result.protocols.sections:
        yield f"not scored with protocol {board.protocol}"
    if published.track == MONO and published.run not in board.mono_runs:
        yield f"monolingual run {published.run} is not one of {' '.join(board.mono_runs)}"


def _entry(folder: Path, result: BenchmarkResult, published: Published, *, board: Board) -> Entry:
    splits = result.protocols.sections[board.protocol].metrics
    metrics = splits.get(board.split, {})
    if result.synthetic and not metrics:
        metrics = next(iter(splits.values()), {})  # the built-in corpus does not have the challenge's splits
    scores, holes = {}, {}
    for column, name in _metrics(published, board=board).items():
        metric = metrics.get(name)
        if metric is None or metric.value is None:
            holes[column] = (metric.reason if metric else "") or f"its result has no {name}"
        else:
            scores[column] = metric.value
    return Entry(folder=folder, result=result, published=published, scores=scores, holes=holes)


def _metrics(published: Published, *, board: Board) -> dict[str, str]:
    """Column -> metric of one track. A monolingual run is scored over all datasets of its language."""
    if published.track == MONO:
        return {mono_column(published.run): "all_per" if published.run in board.phoneme_runs else "all_cer"}
    return {column.name: column.metric for column in board.columns if column.track == published.track}


def shown_deviations(deviations: Mapping[str, Sequence[Any]]) -> list[str]:
    """One text for each deviation, such as `head transformer -> linear`. Settings of a group are left out where another
    option of the group was chosen."""
    return [
        " ".join(f"{path} {published} -> {here}".split())
        for path, (published, here) in deviations.items()
        if "." not in path or path.partition(".")[0] not in deviations
    ]
