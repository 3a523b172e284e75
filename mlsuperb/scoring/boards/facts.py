"""What the runs of a row cost together, for further columns of a board."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlsuperb.scoring.boards.rows import Row
from mlsuperb.scoring.boards.untyped import overlap
from mlsuperb.scoring.comparison.run_facts import UNKNOWN, macs, trained_params


def _params(row: Row) -> dict[str, str]:
    trained = [entry.result.num_trainable for entry in row.entries]
    total = [entry.result.num_total for entry in row.entries]
    return {"trained": _span(trained), "total": _span(total)}


def _span(numbers: list[int]) -> str:
    """One text for all runs: heads differ in size with their vocabularies."""
    low, high = trained_params(min(numbers)), trained_params(max(numbers))
    return high if low == high else f"{low.removesuffix(' M')} to {high}"


def _costs(row: Row, name: str) -> list[Any]:
    """One cost of every run; empty where a run does not record it."""
    costs = [entry.result.cost.get(name) for entry in row.entries]
    return [] if None in costs else costs


def _memory(row: Row) -> dict[str, str]:
    peaks = _costs(row, "peak_memory_gb")
    return {"peak memory": f"{max(peaks):.1f} GB" if peaks else UNKNOWN}


def _hours(row: Row) -> dict[str, str]:
    seconds = _costs(row, "train_wall_s")
    return {"hours of training, all runs": f"{sum(seconds) / 3600:,.2f}" if seconds else UNKNOWN}


def _macs(row: Row) -> dict[str, str]:
    """Of the run with the most: heads differ in size with their vocabularies."""
    largest = max(_costs(row, "macs_per_s"), key=lambda one: sum(one.values()), default=None)
    return {"multiply-accumulates for 1 s of audio": macs({"macs_per_s": largest})}


def _overlap(row: Row) -> dict[str, str]:
    """By track where tracks differ (a monolingual test set has one language)."""
    found: dict[str, str] = {}
    for entry in row.entries:
        track, run = entry.slot
        found.setdefault(overlap(entry.result), run or track)
    texts = list(found) if len(found) == 1 else [f"{where}: {text}" for text, where in found.items()]
    return {"test data seen in pre-training": "; ".join(texts)}


FACTS: Mapping[str, Callable[[Row], dict[str, str]]] = {
    "params": _params,
    "memory": _memory,
    "hours": _hours,
    "macs": _macs,
    "overlap": _overlap,
}


def chosen_facts(text: str) -> Callable[[Row], dict[str, str]]:
    """The facts that `text` names (`params,hours`): a function of a row that gives heading -> text.

    Raises:
        ValueError: there is no such fact.
    """
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in FACTS]:
        raise ValueError(f"--show has no {', '.join(unknown)}; choose from {', '.join(FACTS)}")

    def facts(row: Row) -> dict[str, str]:
        return {heading: told for name in names for heading, told in FACTS[name](row).items()} if row.entries else {}

    return facts
