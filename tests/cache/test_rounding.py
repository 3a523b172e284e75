"""What rounding costs a step of ML-SUPERB 1.0, where features have a large constant part (`scripts/bench/cache_rounding.py`)."""

from __future__ import annotations

from statistics import median

import pytest

from scripts.bench.cache_rounding import COLUMNS, MEAN_APART, measure


@pytest.mark.parametrize(("constant", "bf16_sum", "bf16_worst"), [(0, 1e-3, 1e-3), (100, 1e-2, 1e-1)])
def test_int16_costs_no_more_than_fp32_and_bf16_does(constant: float, bf16_sum: float, bf16_worst: float) -> None:
    """Medians over seeds: a ReLU at zero moves a gradient more than the rounding that pushes it."""
    seeds = [measure(constant, seed=seed, frames=40, size=32) for seed in range(3)]
    found = {
        name: dict(zip(COLUMNS, map(median, zip(*(one[name] for one in seeds), strict=True)), strict=True))
        for name in seeds[0]
    }
    fp32, int16, bf16 = (found[name] for name in ("fp32", "int16", "bf16"))
    assert int16["sum"] < 5e-5
    assert int16["worst feature"] < 5e-5
    assert int16["loss"] < 3e-7, "fp32's own rounding"
    assert fp32["loss"] < 3e-7
    assert int16["gradient"] < 5e-4
    assert int16["sum"] < found[MEAN_APART]["sum"] / 4
    assert bf16["sum"] > bf16_sum
    assert bf16["worst feature"] > bf16_worst
