"""Edits between references and hypotheses, counted as NIST's sclite counts them.

sclite minimises 4 x substitutions + 3 x insertions + 3 x deletions (SCTK, `src/sclite/word.c`, `wwd_WORD`), not the
number of errors. Where several ways into a cell cost the same it takes the diagonal, else an insertion, and a deletion
only if that is cheaper (`src/sclite/net_dp.c`, `calculate_internal_cells`). Ties matter: 3 substitutions and 4
insertions or deletions both cost 12. The counts here follow both rules, so they are sclite's to the unit.

Many pairs are aligned at once, anti-diagonal by anti-diagonal. Letters: B pairs, N reference units, M hypothesis units.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

SUBSTITUTION_COST = 4
GAP_COST = 3
_CELLS_PER_DIAGONAL = 32_768  # a few such arrays stay in a core's cache
_SHORT = 4096  # below this length a cell fits into 32 bits

Units = str | Sequence[str]


class Edits(NamedTuple):
    """What turns a reference into its hypothesis."""

    substitutions: int
    insertions: int
    deletions: int


def edit_counts(references: Sequence[Units], hypotheses: Sequence[Units]) -> list[Edits]:
    """Edits of every pair: strings are compared by code points, other sequences (of phonemes) by items."""
    assert len(references) == len(hypotheses)
    found: list[Edits | None] = [_trivial(*pair) for pair in zip(references, hypotheses, strict=True)]
    waiting = [index for index, edits in enumerate(found) if edits is None]
    codes: dict[str, int] = {}
    pairs = {index: (_encode(references[index], codes), _encode(hypotheses[index], codes)) for index in waiting}
    # pairs of about equal lengths go together, the longest first, as it sets the size of a batch; steps of 4 so that
    # hypothesis lengths get sorted as well
    waiting.sort(key=lambda index: (len(pairs[index][0]) // 4, len(pairs[index][1])), reverse=True)
    while waiting:
        size = max(1, _CELLS_PER_DIAGONAL // (len(pairs[waiting[0]][0]) + 4))
        batch, waiting = waiting[:size], waiting[size:]
        for index, edits in zip(batch, _align([pairs[index] for index in batch]), strict=True):
            found[index] = edits
    return [edits for edits in found if edits is not None]


def fewest_edits(references: Sequence[Units], hypotheses: Sequence[Units]) -> list[Edits]:
    """As `edit_counts`, but the fewest edits there are: every edit costs the same."""
    found = []
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        kinds = Counter(one.tag for one in Levenshtein.editops(reference, hypothesis))
        found.append(Edits(kinds["replace"], kinds["insert"], kinds["delete"]))
    return found


def _trivial(reference: Units, hypothesis: Units) -> Edits | None:
    if not reference or not hypothesis:
        return Edits(0, len(hypothesis), len(reference))
    return Edits(0, 0, 0) if reference == hypothesis else None


def _encode(units: Units, codes: dict[str, int]) -> npt.NDArray[np.int32]:
    if isinstance(units, str):
        return np.frombuffer(units.encode("utf-32-le", "surrogatepass"), np.int32)
    return np.array([codes.setdefault(unit, len(codes)) for unit in units], np.int32)


@dataclass(frozen=True)
class _Cell:
    """A cell of the table in one integer: cost, then which way it was entered (so that `min` breaks ties as sclite
    does: 0 diagonal, 1 insertion, 2 deletion), then the substitutions on the way."""

    dtype: Any
    substitution_bits: int

    @property
    def cost_shift(self) -> int:
        return self.substitution_bits + 2

    def step(self, cost: int, *, way: int = 0, substitutions: int = 0) -> int:
        return (cost << self.cost_shift) | (way << self.substitution_bits) | substitutions

    @property
    def without_way(self) -> int:
        return ~self.step(0, way=3)


def _align(pairs: Sequence[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]) -> list[Edits]:
    """Edits of pairs that are aligned together; all sequences hold at least one unit."""
    longest = max(len(units) for pair in pairs for units in pair)
    cell = _Cell(np.int32, 12) if longest < _SHORT else _Cell(np.int64, 24)
    ends = _end_cells(
        _stack([reference for reference, _ in pairs], fill=-1),
        _stack([hypothesis for _, hypothesis in pairs], fill=-2)[::-1],
        lengths=[(len(reference), len(hypothesis)) for reference, hypothesis in pairs],
        cell=cell,
    )
    return [
        _unpack(end, num_more=len(hypothesis) - len(reference), cell=cell)
        for end, (reference, hypothesis) in zip(ends, pairs, strict=True)
    ]


def _stack(sequences: Sequence[npt.NDArray[np.int32]], *, fill: int) -> npt.NDArray[np.int32]:
    stacked = np.full((max(map(len, sequences)), len(sequences)), fill, np.int32)
    for column, units in enumerate(sequences):
        stacked[: len(units), column] = units
    return stacked


def _unpack(end: int, *, num_more: int, cell: _Cell) -> Edits:
    """`num_more`: insertions less deletions, which the lengths tell."""
    substitutions = end & ((1 << cell.substitution_bits) - 1)
    num_gaps = ((end >> cell.cost_shift) - SUBSTITUTION_COST * substitutions) // GAP_COST
    return Edits(substitutions, (num_gaps + num_more) // 2, (num_gaps - num_more) // 2)


def _end_cells(
    reference_NB: npt.NDArray[np.int32],
    reversed_MB: npt.NDArray[np.int32],
    *,
    lengths: Sequence[tuple[int, int]],
    cell: _Cell,
) -> list[int]:
    """The last cell of every pair. Row n of a diagonal d is cell (n, d - n) of the table; `reversed_MB` holds the
    hypotheses from their ends, so that along a diagonal both sequences are read forwards."""
    (N, B), M = reference_NB.shape, len(reversed_MB)
    substitution = cell.step(SUBSTITUTION_COST, substitutions=1)
    insertion, deletion = cell.step(GAP_COST, way=1), cell.step(GAP_COST, way=2)
    gap = cell.step(GAP_COST)
    ending: defaultdict[int, list[int]] = defaultdict(list)
    for column, (num_reference, num_hypothesis) in enumerate(lengths):
        ending[num_reference + num_hypothesis].append(column)
    ends = [0] * B
    before, last, current = (np.zeros((N + 1, B), cell.dtype) for _ in range(3))
    other_way = np.empty((N + 1, B), cell.dtype)
    last[:2] = gap  # diagonal 1: one insertion, one deletion
    for d in range(2, N + M + 1):
        low, high = max(1, d - M), min(N, d - 1) + 1
        best, other = current[low:high], other_way[low:high]
        differ = reference_NB[low - 1 : high - 1] != reversed_MB[M - d + low : M - d + high]
        np.multiply(differ, cell.dtype(substitution), out=best)
        best += before[low - 1 : high - 1]
        np.add(last[low:high], insertion, out=other)
        np.minimum(best, other, out=best)
        np.add(last[low - 1 : high - 1], deletion, out=other)
        np.minimum(best, other, out=best)
        best &= cell.without_way
        if d <= M:
            current[0] = d * gap
        if d <= N:
            current[d] = d * gap
        for column in ending.get(d, ()):
            ends[column] = int(current[lengths[column][0], column])
        before, last, current = last, current, before
    return ends
