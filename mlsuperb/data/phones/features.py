"""PanPhon's articulatory features of phones (Mortensen et al., COLING 2016; extra `phones`): 24 of each segment, +, - or 0.

Its table is read as it is; PanPhon itself, which takes a second to load, is not. A phone is parted into the segments that PanPhon
knows, the longest first, as `panphon.FeatureTable.ipa_segs` does: a diphthong is two segments, and marks unknown to PanPhon (half
length) are passed over. A phone of another set (`AH`, `sh`, `<unk>`), or with another sign in it, or in which nothing is found,
is a segment without features.

Letters: S segments of the table, V values of features.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlsuperb.data.phones.ipa import TIE, canonical, is_modifier, is_of_another_set
from mlsuperb.runtime.messages import some

NUM_FEATURES = 24
HINT = 'the features are PanPhon\'s, which is not installed. Run: pip install "mlsuperb[phones]"'
_NUM_SHOWN = 50  # phones


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


def without_features(phones: Counter[str], table: FeatureTable) -> str:
    """Which of the phones have no features, and how much of all they are: `49 of 51 phones, 62.3 % of all: ll, oo, ...`, the most
    frequent first. An empty string where there is none."""
    unknown = [one for one, _ in phones.most_common() if any(part not in table.rows for part in table.segments(one))]
    if not unknown:
        return ""
    share = sum(phones[one] for one in unknown) / phones.total()
    return f"{len(unknown)} of {len(phones)} phones, {100 * share:.1f} % of all: {some(unknown, at_most=_NUM_SHOWN)}"


@cache
def _read(path: Path) -> FeatureTable:
    signs = {"+": 1, "0": 0, "-": -1}
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))[1:]
    values = np.array([[signs[value] for value in line[1:]] for line in lines], np.int8)
    rows = {canonical(line[0]): number for number, line in enumerate(lines)}
    return FeatureTable(rows=rows, values_SV=values, longest=max(map(len, rows)))
