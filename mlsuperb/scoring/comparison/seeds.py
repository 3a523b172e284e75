"""Runs that differ in their seed only, in a table: each for itself, or mean and standard deviation (n - 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from mlsuperb.scoring.comparison.selection import SEED
from mlsuperb.scoring.table import ABSENT

RUN = "run"  # the column of run ids
Seeds = Literal["each", "mean", "each_and_mean"]


@dataclass(frozen=True, kw_only=True)
class TableRun:
    """One run: the settings that make columns, facts as they are shown, best validation loss and scores in %."""

    settings: Mapping[str, str]
    facts: tuple[str, ...]
    loss: float | None
    scores: tuple[float | None, ...]

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """What can be averaged."""
        return (self.loss, *self.scores)


def seed_rows(
    runs: Sequence[TableRun], *, groups: Sequence[Sequence[int]], seeds: Seeds
) -> tuple[tuple[str, ...], ...]:
    """The rows of a table (`runs_table` says which).

    Args:
        groups: indices of the runs that are alike but for the seed.
    """
    repeated = [
        [runs[index] for index in members]
        for members in groups
        if len({runs[index].settings[SEED] for index in members}) > 1
    ]
    if seeds == "mean":
        first = {id(members[0]): members for members in repeated}
        averaged = {id(run) for members in repeated for run in members}
        shown = [run for run in runs if id(run) in first or id(run) not in averaged]
        return tuple(_mean_and_sd(first[id(run)]) if id(run) in first else _row([run]) for run in shown)
    rows = [_row([run]) for run in runs]
    for members in repeated if seeds == "each_and_mean" else ():
        rows.append(_row(members, seed=f"mean of {len(members)}"))
        rows.append(_row(members, seed=f"SD of {len(members)}", statistics=(stdev,)))
    return tuple(rows)


def _mean_and_sd(runs: Sequence[TableRun]) -> tuple[str, ...]:
    seeds = sorted((run.settings[SEED] for run in runs), key=lambda seed: (len(seed), seed))
    return _row(runs, seed=", ".join(seeds), statistics=(fmean, stdev))


def _row(
    runs: Sequence[TableRun],
    *,
    seed: str | None = None,
    statistics: Sequence[Callable[[Sequence[float]], float]] = (fmean,),
) -> tuple[str, ...]:
    """The row of one run, or of runs alike but for `seed`: facts in which they differ (hours) with all values, and statistics,
    which are never taken over a hole."""
    instead = {RUN: "", SEED: seed} if seed else {}
    settings = (instead.get(key, value) for key, value in runs[0].settings.items())
    facts = (" / ".join(dict.fromkeys(values)) for values in zip(*(run.facts for run in runs), strict=True))
    numbers = []
    for column, values in enumerate(zip(*(run.numbers for run in runs), strict=True)):
        known = [value for value in values if value is not None]
        shown = [compute(known) for compute in statistics] if len(known) == len(values) else [None]
        numbers.append(" ± ".join(_shown(column, value) for value in shown))
    return (*settings, *facts, *numbers)


def _shown(column: int, value: float | None) -> str:
    """The loss stands first and has three decimals, scores have one; no loss is an empty cell."""
    if column == 0:
        return "" if value is None else f"{value:.3f}"
    return ABSENT if value is None else f"{value:.1f}"
