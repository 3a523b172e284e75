"""Of runs that differ in one setting, the one that the development set prefers. The test set is not looked at."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mlsuperb.runs.identity import without
from mlsuperb.scoring.counts import grouped

if TYPE_CHECKING:
    from mlsuperb.scoring.result import BenchmarkResult

LEARNING_RATE = "trainer.optimizer.lr"
SEED = "seed"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """`chosen` and `others` are all results that were given, each in the order given. A result with nothing to compare it
    with is chosen."""

    chosen: tuple[BenchmarkResult, ...]
    others: tuple[BenchmarkResult, ...]


def choose_on_dev(results: Sequence[BenchmarkResult], *, setting: str = LEARNING_RATE) -> Selection:
    """Of every group of runs alike in all but `setting` (and seed), those with the value of the lowest dev figure.

    The figure is `dev_figure`, averaged over the seeds that all values of the group have. Of equal figures the first given
    wins.

    Args:
        setting: path of the setting to choose, such as `trainer.optimizer.lr`.

    Raises:
        ValueError: no run has the setting, a run has no validation, or the values of a group share no seed.
    """
    if results and all(value_of(one.config, setting) is None for one in results):
        raise ValueError(f"no run has a setting {setting!r}; give its path, such as {LEARNING_RATE}")
    chosen: set[int] = set()
    for members in alike(results, but=(setting, SEED)):
        values = grouped(members, lambda index: repr(value_of(results[index].config, setting)))
        chosen.update(next(iter(values.values())) if len(values) == 1 else _best(results, values, setting))
    return Selection(
        chosen=tuple(one for index, one in enumerate(results) if index in chosen),
        others=tuple(one for index, one in enumerate(results) if index not in chosen),
    )


def dev_figure(result: BenchmarkResult) -> float:
    """The lowest value over the epochs of the figure by which the run chose its own (`trainer.select_by`).

    Raises:
        ValueError: the run's history does not have it.
    """
    name = result.config.get("trainer", {}).get("select_by", "valid_loss")
    figures = [epoch[name] for epoch in result.training.get("history", []) if epoch.get(name) is not None]
    if not figures:
        raise ValueError(
            f"run {result.run_id} has no {name} of any epoch, so it cannot be chosen or passed over on the dev set; "
            "leave it out"
        )
    return float(min(figures))


def alike(results: Sequence[BenchmarkResult], *, but: Collection[str]) -> list[list[int]]:
    """Groups of indices of results with the same data and the same settings, those in `but` and those that do not change
    the science aside; in the order given."""
    left_out = {*not_science(results), *but}

    def key(index: int) -> str:
        splits = results[index].data.splits
        data = {split: (found.sha256, found.num_utterances) for split, found in splits.items()}
        return json.dumps([without(results[index].config, left_out), data], sort_keys=True)

    return list(grouped(range(len(results)), key).values())


def not_science(results: Iterable[BenchmarkResult]) -> set[str]:
    """Paths of the settings that do not change the science of any of the results."""
    return {path for one in results for path in one.not_science}


def value_of(config: Mapping[str, Any], setting: str) -> Any:
    """The value at a path such as `trainer.optimizer.lr`; None where there is none."""
    node: Any = config
    for key in setting.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _best(results: Sequence[BenchmarkResult], values: Mapping[str, Sequence[int]], setting: str) -> Sequence[int]:
    seeds = [{results[index].config.get(SEED) for index in members} for members in values.values()]
    common = set.intersection(*seeds)
    if not common:
        raise ValueError(
            f"the values {', '.join(map(str, values))} of {setting} have no seed in common, so they cannot be compared on "
            "the dev set; run each with the same seeds"
        )

    def figure(members: Sequence[int]) -> float:
        return fmean(dev_figure(results[at]) for at in members if results[at].config.get(SEED) in common)

    return min(values.values(), key=figure)
