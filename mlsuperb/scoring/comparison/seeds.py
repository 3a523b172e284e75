"""Runs that differ in their seed only, in a table: each for itself, or mean and standard deviation (n - 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from mlsuperb.scoring.comparison.selection import SEED
from mlsuperb.scoring.table import ABSENT

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
    repeated = [members for members in groups if len({runs[index].settings[SEED] for index in members}) > 1]
    if seeds == "mean":
        first = {members[0]: [runs[index] for index in members] for members in repeated}
        averaged = {index for members in repeated for index in members}
        shown = [index for index in range(len(runs)) if index in first or index not in averaged]
        return tuple(_mean_and_sd(first[index]) if index in first else _single(runs[index]) for index in shown)
    rows = [_single(run) for run in runs]
    if seeds == "each_and_mean":
        for members in repeated:
            alike = [runs[index] for index in members]
            rows += [_statistic(alike, "mean", fmean), _statistic(alike, "SD", stdev)]
    return tuple(rows)


def _single(run: TableRun) -> tuple[str, ...]:
    return (*run.settings.values(), *run.facts, *map(_shown, range(len(run.numbers)), run.numbers))


def _mean_and_sd(runs: Sequence[TableRun]) -> tuple[str, ...]:
    columns = zip(*(run.numbers for run in runs), strict=True)
    seeds = ", ".join(sorted((run.settings[SEED] for run in runs), key=lambda seed: (len(seed), seed)))
    numbers = (
        f"{_over(values, fmean, column)} ± {_over(values, stdev, column)}"
        if None not in values
        else _shown(column, None)
        for column, values in enumerate(columns)
    )
    return (*_settings(runs, seeds), *_facts(runs), *numbers)


def _statistic(runs: Sequence[TableRun], name: str, compute: Callable[[Sequence[float]], float]) -> tuple[str, ...]:
    columns = zip(*(run.numbers for run in runs), strict=True)
    numbers = (_over(values, compute, column) for column, values in enumerate(columns))
    return (*_settings(runs, f"{name} of {len(runs)}"), *_facts(runs), *numbers)


def _settings(runs: Sequence[TableRun], seed: str) -> list[str]:
    return [seed if key == SEED else value for key, value in runs[0].settings.items()]


def _facts(runs: Sequence[TableRun]) -> list[str]:
    """Where the runs differ (hours), all values."""
    return [" / ".join(dict.fromkeys(values)) for values in zip(*(run.facts for run in runs), strict=True)]


def _over(values: Sequence[float | None], compute: Callable[[Sequence[float]], float], column: int) -> str:
    """A statistic is never taken over a hole."""
    known = [value for value in values if value is not None]
    return _shown(column, compute(known) if len(known) == len(values) else None)


def _shown(column: int, value: float | None) -> str:
    """The loss stands first and has three decimals, scores have one; no loss is an empty cell."""
    if column == 0:
        return "" if value is None else f"{value:.3f}"
    return ABSENT if value is None else f"{value:.1f}"
