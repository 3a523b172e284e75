"""Which results may stand side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlsuperb.scoring.result import BenchmarkResult


def comparable(a: BenchmarkResult, b: BenchmarkResult, *, splits: Collection[str] | None = None) -> list[str]:
    """Why two results may not stand in one table; an empty list if they may.

    The task, its units and normaliser, every split of the data (by hash), the scorer and the protocols that both have
    must be the same, and both data synthetic or both real.

    Args:
        splits: look at these alone, whatever the runs were trained on; None: at all.
    """
    return [*same_scoring(a, b), *_data_differences(a, b, splits), *_protocol_differences(a, b)]


def same_scoring(a: BenchmarkResult, b: BenchmarkResult) -> list[str]:
    """Why the counts of two results' utterances do not mean the same, whatever data they are of; empty if they do."""
    named = [
        ("task", a.task.name, b.task.name),
        ("units", a.task.units, b.task.units),
        ("normaliser", str(a.normaliser), str(b.normaliser)),
        ("scorer", a.scorer.version, b.scorer.version),
    ]
    reasons = [f"{what} differs: {first} and {second}" for what, first, second in named if first != second]
    if a.synthetic != b.synthetic:
        reasons.append("one is of synthetic data, the other of real data")
    return reasons


def _data_differences(a: BenchmarkResult, b: BenchmarkResult, splits: Collection[str] | None) -> Iterator[str]:
    for split in sorted({*a.data.splits, *b.data.splits} if splits is None else splits):
        first, second = a.data.sha256(split), b.data.sha256(split)
        if first != second:
            shown = " and ".join(f"sha256 {sha[:8]}" if sha else "none" for sha in (first, second))
            yield f"data differ in split {split} ({a.data.name} and {b.data.name}: {shown})"


def _protocol_differences(a: BenchmarkResult, b: BenchmarkResult) -> Iterator[str]:
    common = [name for name in a.protocols.sections if name in b.protocols.sections]
    if not common:
        yield "no protocol in common"
    for name in common:
        sections = (one.protocols.sections[name] for one in (a, b))
        first, second = (f"version {one.version}, normaliser {one.normaliser}" for one in sections)
        if first != second:
            yield f"protocol {name} differs: {first}; {second}"
