"""What a row's runs cost together, for further columns of a board."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlsuperb.scoring.boards.rows import Row
from mlsuperb.scoring.comparison.run_facts import UNKNOWN, macs, run_facts, trained_params


def _params(row: Row) -> dict[str, str]:
    trained = [entry.result["num_trainable"] for entry in row.entries]
    total = [entry.result["num_total"] for entry in row.entries]
    return {"trained": _span(trained), "total": _span(total)}


def _span(numbers: Sequence[int]) -> str:
    """One text for all runs: heads differ by their vocabularies."""
    low, high = trained_params(min(numbers)), trained_params(max(numbers))
    return high if low == high else f"{low.removesuffix(' M')} to {high}"


def _memory(row: Row) -> dict[str, str]:
    peaks = [entry.result["cost"].get("peak_memory_gb") for entry in row.entries]
    known = [peak for peak in peaks if peak is not None]
    return {"peak memory": f"{max(known):.1f} GB" if known and len(known) == len(peaks) else UNKNOWN}


def _hours(row: Row) -> dict[str, str]:
    seconds = [entry.result["cost"].get("train_wall_s") for entry in row.entries]
    known = [one for one in seconds if one is not None]
    text = f"{sum(known) / 3600:,.2f}" if known and len(known) == len(seconds) else UNKNOWN
    return {"hours of training, all runs": text}


def _macs(row: Row) -> dict[str, str]:
    """Of the largest run: heads differ by their vocabularies."""
    counted = [entry.result["cost"].get("macs_per_s") for entry in row.entries]
    largest = None if None in counted else max(counted, key=lambda one: sum(one.values()))
    return {"multiply-accumulates for 1 s of audio": macs({"macs_per_s": largest})}


def _overlap(row: Row) -> dict[str, str]:
    """By track, where tracks differ (a monolingual test is of one language)."""
    found: dict[str, str] = {}
    for entry in row.entries:
        found.setdefault(run_facts(entry.result)["overlap"], entry.run or entry.track)
    texts = list(found) if len(found) == 1 else [f"{where}: {text}" for text, where in found.items()]
    return {"test data seen in pre-training": "; ".join(texts)}


FACTS: dict[str, Callable[[Row], dict[str, str]]] = {
    "params": _params,
    "memory": _memory,
    "hours": _hours,
    "macs": _macs,
    "overlap": _overlap,
}


def facts_of(names: Sequence[str]) -> Callable[[Row], dict[str, str]]:
    """A function of a row: heading -> text of the facts `names`."""

    def facts(row: Row) -> dict[str, str]:
        return {heading: text for name in names for heading, text in FACTS[name](row).items()} if row.entries else {}

    return facts
