"""How far an error rate or a difference would move with other test utterances: bootstrap intervals.

After M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004:
utterances are drawn with replacement, the corpus-level rate (all errors over all reference units) is taken of every draw,
and the percentiles of these rates bound the interval. Two systems are compared on the same draws, which takes out
what makes an utterance hard for both. Letters: N utterances, R draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlsuperb.scoring.counts import Counts, Rate

_DRAWN_AT_ONCE = 1 << 20  # utterances: 8 MB of indices, whatever N and R are

MARK = "*"  # of a difference whose interval excludes 0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number measured on the given utterances, and the bounds that the draws give; in % (of a difference: in points; of
    `ratio_interval`: as the ratio is)."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Of a difference: whether it keeps its sign."""
        return self.low > 0 or self.high < 0

    def as_change(self) -> str:
        """Of a difference: `-2.1 [-3.0, -1.2] *`, marked where it keeps its sign."""
        mark = f" {MARK}" if self.excludes_zero else ""
        return f"{self.value:+.1f} [{self.low:+.1f}, {self.high:+.1f}]{mark}"


def rate_interval(
    counts: Sequence[Counts],
    *,
    of: Rate = "error_rate",
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """The interval of one system's rate over utterances (`counts`: one an utterance, of one language or of all).

    None where there is nothing to rate (no reference unit, no language asked for), or one utterance only, which tells
    nothing of the spread. Draws that hold nothing to rate are left out of the percentiles.

    Raises:
        ValueError: a confidence that is not between 0 and 1, or no draw.
    """
    return _interval([_parts(counts, of)], confidence=confidence, num_resamples=num_resamples, seed=seed)


def difference_interval(
    first: Sequence[Counts],
    second: Sequence[Counts],
    *,
    of: Rate = "error_rate",
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """The interval of `second - first`; the two hold the same utterances in the same order, and None is as above.

    Raises:
        ValueError: as above, or other numbers of utterances.
    """
    if len(first) != len(second):
        raise ValueError(
            f"a paired comparison needs the same utterances of both: the first has {len(first)}, the second {len(second)}"
        )
    parts = [_parts(first, of), _parts(second, of)]
    return _interval(parts, confidence=confidence, num_resamples=num_resamples, seed=seed)


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
) -> Interval | None:
    """The interval (95 %) of a ratio of sums over sentences, such as bits per character, as it is (not in %); None as above."""
    parts = np.array([numerators, denominators], np.float64)
    found = _interval([parts], confidence=0.95, num_resamples=1000, seed=0)
    return found and Interval(value=found.value / 100, low=found.low / 100, high=found.high / 100)


def _parts(counts: Sequence[Counts], of: Rate) -> Floats:
    """Numerators and denominators of a rate, (2, N)."""
    if of == "error_rate":
        pairs = [(one.errors, one.reference_length) for one in counts]
    elif of == "lid_accuracy":
        pairs = [(one.lid_correct, one.lid_total) for one in counts]
    else:
        raise ValueError(f"unknown rate {of!r}; choose error_rate or lid_accuracy")
    return np.array(pairs, np.float64).reshape(-1, 2).T


def _interval(systems: Sequence[Floats], *, confidence: float, num_resamples: int, seed: int) -> Interval | None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; give a share between 0 and 1, such as 0.95")
    if num_resamples < 1:
        raise ValueError(f"num_resamples is {num_resamples}; give 1 or more (1000 is usual)")
    num_utterances = systems[0].shape[1]
    sums = np.stack([parts.sum(axis=1) for parts in systems])
    if num_utterances < 2 or (sums[:, 1] == 0).any():
        return None
    columns = np.concatenate(systems)
    drawn = _drawn_sums(columns, num_resamples=num_resamples, seed=seed).reshape(len(systems), 2, num_resamples)
    rated = (drawn[:, 1] > 0).all(axis=0)
    if not rated.any():
        return None
    statistics = _statistic(drawn[:, :, rated])
    low, high = np.quantile(statistics, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value=float(_statistic(sums[:, :, None])[0]), low=float(low), high=float(high))


def _drawn_sums(columns_CN: Floats, *, num_resamples: int, seed: int) -> Floats:
    """Sums (C, R) of every column over R draws of N utterances."""
    num_utterances = columns_CN.shape[1]
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWN_AT_ONCE // num_utterances)
    blocks = []
    for start in range(0, num_resamples, at_once):
        size = (min(at_once, num_resamples - start), num_utterances)
        drawn = generator.integers(num_utterances, size=size)
        blocks.append([column[drawn].sum(axis=1) for column in columns_CN])
    return np.concatenate(blocks, axis=1)


def _statistic(sums: Floats) -> Floats:
    """The rate in %, or the second system's less the first's, of sums (1 or 2 systems, 2, R)."""
    rates = 100 * sums[:, 0] / sums[:, 1]
    return rates[0] if len(rates) == 1 else rates[1] - rates[0]
