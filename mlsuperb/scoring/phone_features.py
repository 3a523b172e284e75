"""Edits between sequences of phones, weighed by articulatory features (`mlsuperb.data.phones.features`): what phone feature error
rates are made of.

Letters: B pairs, N reference segments, M hypothesis segments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlsuperb.data.phones.features import NUM_FEATURES, FeatureTable

_PAIRS_AT_ONCE = 256


class FeatureEdits(NamedTuple):
    """Of one pair: features to change, where an inserted or deleted segment counts as all of its features; segments of the
    reference, and how many of them have no features."""

    errors: int
    num_segments: int
    num_unknown: int


def feature_edits(pairs: Sequence[tuple[Sequence[str], Sequence[str]]], table: FeatureTable) -> list[FeatureEdits]:
    """The cheapest way from each reference to its hypothesis, of phones (`mlsuperb.data.phones.ipa.phones`).

    A substitution costs the features that differ, an insertion or deletion all of them: 24 times
    `panphon.distance.Distance.hamming_feature_edit_distance`, which PRiSM (arXiv 2601.14046) takes for PFER.
    """
    parts: dict[str, tuple[str, ...]] = {}

    def parted(phones: Iterable[str]) -> list[str]:
        return [one for phone in phones for one in parts.setdefault(phone, table.segments(phone))]

    sides = [(parted(reference), parted(hypothesis)) for reference, hypothesis in pairs]
    order = sorted(range(len(sides)), key=lambda at: len(sides[at][0]), reverse=True)
    errors = [0] * len(sides)
    for first in range(0, len(order), _PAIRS_AT_ONCE):
        chosen = order[first : first + _PAIRS_AT_ONCE]
        for at, found in zip(chosen, _distances([sides[at] for at in chosen], table), strict=True):
            errors[at] = found
    return [
        FeatureEdits(found, len(reference), sum(one not in table.rows for one in reference))
        for found, (reference, _) in zip(errors, sides, strict=True)
    ]


def _distances(pairs: Sequence[tuple[list[str], list[str]]], table: FeatureTable) -> list[int]:
    """Of pairs whose references get no longer. A row of the table of all pairs at a time; insertions along it are a running
    minimum."""
    codes = {one: code for code, one in enumerate(sorted({one for pair in pairs for side in pair for one in side}))}
    costs = table.costs(list(codes))
    references, hypotheses = zip(*pairs, strict=True)
    reference_BN, hypothesis_BM = _padded(references, codes), _padded(hypotheses, codes)
    gaps_M = NUM_FEATURES * np.arange(hypothesis_BM.shape[1] + 1, dtype=np.int32)
    row_BM = np.tile(gaps_M, (len(pairs), 1))
    lengths_B = np.array([len(one) for one in references])
    for n in range(reference_BN.shape[1]):
        active = int((lengths_B > n).sum())
        above = row_BM[:active]
        best = above + NUM_FEATURES
        substituted = above[:, :-1] + costs[reference_BN[:active, n, None], hypothesis_BM[:active]]
        np.minimum(best[:, 1:], substituted, out=best[:, 1:])
        row_BM[:active] = np.minimum.accumulate(best - gaps_M, axis=1) + gaps_M
    return [int(row[len(one)]) for row, one in zip(row_BM, hypotheses, strict=True)]


def _padded(sequences: Sequence[list[str]], codes: Mapping[str, int]) -> npt.NDArray[np.intp]:
    padded = np.zeros((len(sequences), max(map(len, sequences))), np.intp)
    for row, one in zip(padded, sequences, strict=True):
        row[: len(one)] = [codes[segment] for segment in one]
    return padded
