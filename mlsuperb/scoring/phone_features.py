"""Edits between sequences of phones, weighed by articulatory features: what phone feature error rates are made of.

Features are those of PanPhon (Mortensen et al., COLING 2016; extra `phones`): 24 of each segment, +, - or 0. Its table is read as
it is; PanPhon itself, which takes a second to load, is not. A phone is parted into the segments that PanPhon knows, the longest
first, as `panphon.FeatureTable.ipa_segs` does: a diphthong is two segments, and marks unknown to PanPhon (half length) are passed
over. A phone of another set (`AH`, `sh`, `<unk>`), or with another sign in it, or in which nothing is found, is a segment without
features.

Letters: B pairs, N reference segments, M hypothesis segments, S segments of the table, V values of features.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlsuperb.data.phones.ipa import TIE, canonical, is_modifier, is_of_another_set

NUM_FEATURES = 24
HINT = 'the features are PanPhon\'s, which is not installed. Run: pip install "mlsuperb[phones]"'
_PAIRS_AT_ONCE = 256


class FeatureEdits(NamedTuple):
    """Of one pair: features to change, where an inserted or deleted segment counts as all of its features; segments of the
    reference, and how many of them have no features."""

    errors: int
    num_segments: int
    num_unknown: int


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """PanPhon's segments: their rows in `values_SV` (int8: 1, 0, -1), and the length of the longest."""

    rows: dict[str, int]
    values_SV: npt.NDArray[np.int8]
    longest: int

    def segments(self, phone: str) -> tuple[str, ...]:
        """The segments of a phone; the phone itself if it is not all IPA that PanPhon knows."""
        found: list[str] = []
        rest = "" if is_of_another_set(phone) else phone
        while rest:
            lengths = range(min(self.longest, len(rest)), 0, -1)
            if known := next((rest[:length] for length in lengths if rest[:length] in self.rows), ""):
                found.append(known)
            elif not (rest[0] == TIE or is_modifier(rest[0])):
                return (phone,)
            rest = rest[len(known) or 1 :]
        return tuple(found) or (phone,)

    def costs(self, segments: Sequence[str]) -> npt.NDArray[np.int32]:
        """How many features of each two segments differ; of one without features, all from any other."""
        rows = np.array([self.rows.get(one, -1) for one in segments], np.intp)
        costs = np.zeros((len(rows), len(rows)), np.int32)
        for values in self.values_SV[rows].T:
            costs += values[:, None] != values
        costs[rows < 0] = costs[:, rows < 0] = NUM_FEATURES
        np.fill_diagonal(costs, 0)
        return costs


def feature_table() -> FeatureTable | None:
    """PanPhon's segments; None where it is not installed."""
    spec = find_spec("panphon")
    places = spec.submodule_search_locations if spec else None
    return _read(Path(places[0], "data", "ipa_all.csv")) if places else None


def panphon_version() -> str:
    """Of the table."""
    return version("panphon")


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


@cache
def _read(path: Path) -> FeatureTable:
    signs = {"+": 1, "0": 0, "-": -1}
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))[1:]
    values = np.array([[signs[value] for value in line[1:]] for line in lines], np.int8)
    rows = {canonical(line[0]): number for number, line in enumerate(lines)}
    return FeatureTable(rows=rows, values_SV=values, longest=max(map(len, rows)))
