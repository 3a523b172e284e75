"""To be deleted in the merge: today's comparison functions, which read mappings, with the signatures that they are going to have.
Import each from where this module imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlsuperb.scoring import result as _result
from mlsuperb.scoring.comparison import run_facts as _run_facts
from mlsuperb.scoring.comparison import selection as _selection
from mlsuperb.scoring.records import BenchmarkResult


def comparable(a: BenchmarkResult, b: BenchmarkResult) -> list[str]:
    """`mlsuperb.scoring.result.comparable`."""
    return _result.comparable(a.model_dump(), b.model_dump())


def dev_figure(result: BenchmarkResult) -> float:
    """`mlsuperb.scoring.comparison.selection.dev_figure`."""
    return _selection.dev_figure(result.model_dump())


def choose_on_dev(results: Sequence[BenchmarkResult]) -> Any:
    """`mlsuperb.scoring.comparison.selection.choose_on_dev`."""
    dumped = [one.model_dump() for one in results]
    found = _selection.choose_on_dev(dumped, hidden=results[0].not_science)

    def of(chosen: Sequence[Any]) -> tuple[BenchmarkResult, ...]:
        return tuple(one for one, dump in zip(results, dumped, strict=True) if any(dump is other for other in chosen))

    return _selection.Selection(chosen=of(found.chosen), others=of(found.others))  # type: ignore[arg-type]


def overlap(result: BenchmarkResult) -> str:
    """`mlsuperb.scoring.comparison.run_facts.overlap`."""
    return _run_facts.overlap(result.model_dump())
