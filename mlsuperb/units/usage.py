"""How often units are used: entropy, perplexity, bit rate. Letters: F frames of an utterance, K units."""

from __future__ import annotations

import math

import numpy as np

BIT = math.log(2)  # in nats


def entropy(counts: np.ndarray) -> float:
    """Of the distribution with these counts, in nats; 0 where nothing was counted."""
    positive = counts[counts > 0]
    shares = positive / positive.sum()
    return float(-(shares * np.log(shares)).sum())


def perplexity(counts_K: np.ndarray) -> float:
    """exp of the entropy: how many equally frequent units would be as hard to guess; 0 where nothing was counted."""
    return math.exp(entropy(counts_K)) if counts_K.any() else 0.0


def bitrate(runs_K: np.ndarray, *, seconds: float) -> float:
    """Bits per second of units without repetitions: runs per second times the entropy of a run's unit (the ZeroSpeech
    challenges, Dunbar et al. 2019); nan where there is no time.

    Args:
        runs_K: how often each unit stands in the units without repetitions.
        seconds: duration of the units.
    """
    return float(runs_K.sum()) / seconds * entropy(runs_K) / BIT if seconds else math.nan


def run_starts(values_F: np.ndarray) -> np.ndarray:
    """The first frame of each run of equal values, none of which is negative."""
    return np.flatnonzero(np.diff(values_F.astype(np.int64), prepend=-1) != 0)
