"""What the runs of a row cost together, for further columns of a board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlsuperb.scoring.boards.rows import Row
from mlsuperb.scoring.comparison.run_facts import UNKNOWN, chosen_facts, macs, overlap, trained_params

FACTS = ("params", "memory", "hours", "macs", "overlap")


def facts_of_rows(text: str) -> Callable[[Row], dict[str, str]]:
    """The facts that `text` names (`params,hours`): a function of a row that gives heading -> text.

    Raises:
        ValueError: there is no such fact.
    """
    names = chosen_facts(text, among=FACTS)

    def facts(row: Row) -> dict[str, str]:
        known = _facts(row) if row.entries else {name: {} for name in FACTS}
        return {heading: told for name in names for heading, told in known[name].items()}

    return facts


def _facts(row: Row) -> dict[str, dict[str, str]]:
    """Fact -> heading -> text. Costs are unknown where a run does not record them; heads differ in size with their
    vocabularies, so parameters are a range and multiply-accumulates those of the largest run."""
    results = [entry.result for entry in row.entries]
    names = ("peak_memory_gb", "train_wall_s", "macs_per_s")
    costs: list[list[Any]] = [[one.cost.get(name) for one in results] for name in names]
    memory, seconds, counted = ([] if None in values else values for values in costs)
    largest = max(counted, key=lambda one: sum(one.values()), default=None)
    return {
        "params": {
            "trained": _span([one.num_trainable for one in results]),
            "total": _span([one.num_total for one in results]),
        },
        "memory": {"peak memory": f"{max(memory):.1f} GB" if memory else UNKNOWN},
        "hours": {"hours of training, all runs": f"{sum(seconds) / 3600:.2f}" if seconds else UNKNOWN},
        "macs": {"multiply-accumulates for 1 s of audio": macs({"macs_per_s": largest})},
        "overlap": {"test data seen in pre-training": _overlap(row)},
    }


def _span(numbers: Sequence[int]) -> str:
    low, high = trained_params(min(numbers)), trained_params(max(numbers))
    return high if low == high else f"{low.removesuffix(' M')} to {high}"


def _overlap(row: Row) -> str:
    """By track where tracks differ (a monolingual test set has one language)."""
    found: dict[str, str] = {}
    for entry in row.entries:
        track, run = entry.slot
        found.setdefault(overlap(entry.result), run or track)
    return "; ".join(found if len(found) == 1 else [f"{where}: {text}" for text, where in found.items()])
