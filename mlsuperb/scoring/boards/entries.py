"""Results that may take part in a board, and why the others may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlsuperb.scoring.boards.superb_s import ANY_SIZE, MONO, Board
from mlsuperb.scoring.comparison.selection import LEARNING_RATE, dev_figure, value_of

FINISHED = "finished"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A result of a track of a board.

    Args:
        place: its folder, as it is shown.
        scores: column -> %; a monolingual run has the one column `mono_<run>`.
        holes: column -> why it has no value.
    """

    place: str
    result: Mapping[str, Any]
    scores: Mapping[str, float]
    holes: Mapping[str, str]

    @property
    def track(self) -> str:
        """Of the benchmark."""
        return str(self.result["benchmark"]["track"])

    @property
    def run(self) -> str | None:
        """The monolingual run."""
        return self.result["benchmark"]["run"] if self.track == MONO else None

    @property
    def seed(self) -> int:
        """Of the run."""
        return int(self.result["seed"])

    @property
    def learning_rate(self) -> float | None:
        """Of the optimiser."""
        rate: float | None = value_of(self.result["config"], LEARNING_RATE)
        return rate

    @property
    def dev_figure(self) -> float:
        """What `mlsuperb table --best` goes by; infinite where the training took none."""
        try:
            return dev_figure(self.result)
        except ValueError:
            return float("inf")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What is no part of a table, and why."""

    place: str
    reason: str


def take(
    results: Sequence[tuple[str, Mapping[str, Any]]], *, board: Board, size: str
) -> tuple[list[Entry], list[LeftOut]]:
    """The results (folder, result) that are of `board` and `size`, and the others with their reasons."""
    entries, left_out = [], []
    for place, result in results:
        if reason := _why_not(result, board=board, size=size):
            left_out.append(LeftOut(place=place, reason=reason))
        else:
            entries.append(_entry(place, result, board=board))
    return entries, left_out


def _why_not(result: Mapping[str, Any], *, board: Board, size: str) -> str:
    benchmark = result["benchmark"]
    if result["status"] != FINISHED:
        return f"not finished ({result['status']})"
    if not benchmark:
        return "its settings come from no published experiment (its result has no benchmark)"
    if not str(benchmark["experiment"]).startswith(board.experiments):
        return f"+exp={benchmark['experiment']} is no experiment of board {board.name} ({board.experiments}...)"
    if benchmark["track"] not in board.tracks:
        return f"board {board.name} has no track {benchmark['track']}"
    if size != ANY_SIZE and benchmark["size"] != size:
        return f"size {benchmark['size']}, the table is of {size}"
    if board.data and not result["synthetic"] and result["data"]["name"] != board.data:
        return f"data={result['data']['name']}, board {board.name} is of data={board.data}"
    if board.protocol not in result["protocols"]:
        return f"not scored with protocol {board.protocol}"
    if benchmark["track"] == MONO and benchmark["run"] not in board.mono_runs:
        return f"monolingual run {benchmark['run']} is none of {' '.join(board.mono_runs)}"
    return ""


def _entry(place: str, result: Mapping[str, Any], *, board: Board) -> Entry:
    splits = result["protocols"][board.protocol]["metrics"]
    metrics = splits.get(board.split, {})
    if result["synthetic"] and not metrics:
        metrics = next(iter(splits.values()), {})  # the built-in corpus has not the challenge's splits
    scores, holes = {}, {}
    for column, metric in _metrics(result["benchmark"], board=board).items():
        found = metrics.get(metric, {})
        if found.get("value") is None:
            holes[column] = found.get("reason", f"its result has no {metric}")
        else:
            scores[column] = float(found["value"])
    return Entry(place=place, result=result, scores=scores, holes=holes)


def _metrics(benchmark: Mapping[str, Any], *, board: Board) -> dict[str, str]:
    """Column -> metric, of one track. A monolingual run counts whole: the test is all datasets of its language."""
    if benchmark["track"] == MONO:
        run = benchmark["run"]
        return {mono_column(run): "all_per" if board.language_of(run) in board.phonemes else "all_cer"}
    return {column.name: column.metric for column in board.columns if column.track == benchmark["track"]}


def mono_column(run: str) -> str:
    """The column of one monolingual run."""
    return f"mono_{run}"


def shown_deviations(deviations: Mapping[str, Sequence[Any]]) -> list[str]:
    """`head transformer -> linear`, one text a deviation; the settings of a group whose option is another go unsaid."""
    return [
        " ".join(f"{path} {published} -> {here}".split())
        for path, (published, here) in deviations.items()
        if "." not in path or path.partition(".")[0] not in deviations
    ]
