"""Boundaries of phones that are found in time, as DiscoPhon counts them (arXiv 2603.18612), after Räsänen et al. 2009, "An
improved speech segmentation quality measure: the R-value"."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOLERANCE_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Boundaries:
    """Numbers of boundaries, to be added up over utterances.

    Args:
        wanted: boundaries of the reference.
        found: boundaries that were found, right or wrong.
        hits: boundaries of the reference that were found.
    """

    wanted: int = 0
    found: int = 0
    hits: int = 0

    def __add__(self, other: Boundaries) -> Boundaries:
        return Boundaries(
            wanted=self.wanted + other.wanted, found=self.found + other.found, hits=self.hits + other.hits
        )

    @property
    def precision(self) -> float:
        """Share of those found that are right; nan where none was found."""
        return self.hits / self.found if self.found else math.nan

    @property
    def recall(self) -> float:
        """Share of those wanted that were found; nan where there is none."""
        return self.hits / self.wanted if self.wanted else math.nan

    @property
    def f1(self) -> float:
        """2 hits / (wanted + found), the harmonic mean of precision and recall; nan where there is neither."""
        return 2 * self.hits / (self.wanted + self.found) if self.wanted + self.found else math.nan

    @property
    def r_value(self) -> float:
        """1 - (r1 + r2) / 2, where OS = recall / precision - 1 = found / wanted - 1 is the over-segmentation,
        r1 = sqrt((1 - recall)^2 + OS^2) and r2 = |recall - 1 - OS| / sqrt(2). 1 is perfect; there is no lower bound."""
        if not self.wanted:
            return math.nan
        excess, missed = self.found / self.wanted - 1, 1 - self.recall
        return 1 - (math.hypot(missed, excess) + abs(missed + excess) / math.sqrt(2)) / 2


def compare(wanted_s: npt.ArrayLike, found_s: npt.ArrayLike) -> Boundaries:
    """Compare boundaries of an utterance, given as times in seconds.

    Each wanted boundary is searched within `TOLERANCE_S` on both sides; where two such windows overlap, they are split in the
    middle, which belongs to the earlier one. So a boundary that was found can only stand for the nearest wanted one, and of
    several that stand for the same one, one is a hit and the others are false.
    """
    wanted, found = _microseconds(wanted_s), _microseconds(found_s)
    if not len(wanted) or not len(found):
        return Boundaries(wanted=len(wanted), found=len(found))
    later = np.searchsorted(wanted, found).clip(1, max(1, len(wanted) - 1))
    earlier = later - 1
    later = later.clip(max=len(wanted) - 1)
    nearest = np.where(found - wanted[earlier] <= wanted[later] - found, earlier, later)
    near = np.abs(found - wanted[nearest]) <= round(TOLERANCE_S * 1e6)
    return Boundaries(wanted=len(wanted), found=len(found), hits=len(np.unique(nearest[near])))


def _microseconds(times_s: npt.ArrayLike) -> np.ndarray:
    """Times as sorted, distinct whole numbers, so that a difference of exactly the tolerance is within it."""
    return np.unique(np.round(np.asarray(times_s, float) * 1e6).astype(np.int64))
