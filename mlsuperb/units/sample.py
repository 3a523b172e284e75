"""Which utterances are encoded for a clustering: a sample of the corpus by a law and a budget of memory."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pandas as pd

from mlsuperb.data.sampling import TwoLevel
from mlsuperb.runtime.messages import some

log = logging.getLogger(__name__)

BYTES_PER_NUMBER = 4  # features are fp32


def sample(
    durations_s: np.ndarray,
    *,
    languages: np.ndarray,
    datasets: np.ndarray,
    law: TwoLevel | None,
    budget_gb: float,
    feature_size: int,
    rate_hz: float,
    seed: int,
) -> np.ndarray:
    """Row numbers, sorted, a row as often as its features are to be clustered.

    With a law, each (language, dataset) pair gets its share of the budget by hours: as many whole copies as fit, then random
    utterances until the next one would exceed it (mHuBERT-147's `probability_sampling_from_size_estimation.py`; there these
    random utterances are drawn with replacement, here a part of one more copy is drawn without). Without a law, each
    utterance has the same chance, and none is taken twice.

    Args:
        durations_s: (N,) of the utterances.
        languages: (N,) the language of each.
        datasets: (N,) the dataset of each.
        law: its sizes are hours here, whatever `by` says.
        budget_gb: memory for the features in fp32 (2^30 bytes, as there).
        feature_size: numbers in a frame.
        rate_hz: frames per second.
        seed: of the random utterances.

    Raises:
        ValueError: there are no utterances, a language has no audio, or no utterance fits.
    """
    _check(durations_s, languages, rate_hz)
    budget_s = budget_gb * 2**30 / (BYTES_PER_NUMBER * feature_size * rate_hz)
    share = budget_s / float(durations_s.sum())
    log.info("%.3g GB hold %.2f h of features, %.1f %% of the corpus", budget_gb, budget_s / 3600, 100 * share)
    rng, parts = np.random.default_rng(seed), _parts(durations_s, budget_s, languages, datasets, law)
    rows = np.concatenate([_draw(part, durations_s, copies, rng) for part, copies in parts])
    _check_drawn(rows, languages, budget_gb=budget_gb, budget_s=budget_s)
    return np.sort(rows)


def _parts(
    durations_s: np.ndarray, budget_s: float, languages: np.ndarray, datasets: np.ndarray, law: TwoLevel | None
) -> list[tuple[np.ndarray, float]]:
    """Rows that are sampled alike, and how many copies of them the budget holds."""
    copies = budget_s / float(durations_s.sum())
    if law is None:
        return [(np.arange(len(durations_s)), min(1.0, copies))]
    repeats_N = replace(law, by="hours").repeats(durations_s, languages=languages, datasets=datasets)
    assert repeats_N is not None
    pairs = pd.DataFrame({"language": languages, "dataset": datasets}).groupby(["language", "dataset"], sort=True)
    parts = [np.asarray(rows) for rows in pairs.indices.values()]
    return [(rows, copies * float(repeats_N[rows[0]])) for rows in parts]  # the same for all of a pair


def _draw(rows: np.ndarray, durations_s: np.ndarray, copies: float, rng: np.random.Generator) -> np.ndarray:
    """`rows` as often as `copies` says; of the fraction random ones, as many as fit."""
    whole, fraction = divmod(copies, 1)
    shuffled = rng.permutation(rows)
    ends_s = durations_s[shuffled].cumsum()
    part = shuffled[ends_s <= fraction * ends_s[-1]]
    return np.concatenate([np.repeat(rows, int(whole)), part])


def _check(durations_s: np.ndarray, languages: np.ndarray, rate_hz: float) -> None:
    if not len(durations_s):
        raise ValueError(
            "there are no utterances to cluster. Check the filters of the corpus (data.languages, data.datasets)"
        )
    codes_N, names = pd.factorize(languages, sort=True)
    seconds = np.bincount(codes_N, weights=durations_s)
    if empty := [str(name) for name, sum_s in zip(names, seconds, strict=True) if sum_s * rate_hz < 1]:
        raise ValueError(
            f"{len(empty)} of {len(names)} languages have less audio than one frame, so they have no share in a clustering: "
            f"{some(empty)}. Leave them out (data.languages), or look at the durations in their manifest"
        )


def _check_drawn(rows: np.ndarray, languages: np.ndarray, *, budget_gb: float, budget_s: float) -> None:
    if not rows.size:
        raise ValueError(
            f"the budget of {budget_gb:g} GB is {budget_s:.1f} s of features, and no utterance fits into the part of it that its "
            "language and dataset may take. Raise it"
        )
    if absent := sorted(set(languages) - set(languages[rows])):
        log.warning(
            "no utterance fits into the parts of %d languages, which are left out: %s", len(absent), some(absent)
        )
