"""How well discrete units fit phones: mutual information, purity, boundaries, phone errors, bit rate.

Definitions: PNMI and the purities from Hsu et al. 2021 (HuBERT; fairseq's `measure_teacher_quality.py`); boundaries and phone
error rate from DiscoPhon (arXiv 2603.18612); the bit rate from the ZeroSpeech challenges (Dunbar et al. 2019). Numpy alone: no
torch. Letters: F frames of an utterance, P phones, K units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
from rapidfuzz.distance import Levenshtein

from mlsuperb.units.boundaries import Boundaries, compare
from mlsuperb.units.phones import Interval, aligned, meet, merged
from mlsuperb.units.usage import bitrate, entropy, perplexity, run_starts

NO_PHONE = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Quality:
    """What was counted over the utterances of a language, and the measures that follow from it. Qualities of the same units can
    be added up: phones of the same name are then the same phone.

    Args:
        phones: P names, the most frequent first.
        joint_PK: frames of each phone and unit; those that no phone covers are left out.
        rate_hz: these frames per second.
        runs_K: how often each unit stands in the units without repetitions.
        unit_frames: frames of all units, those beside no phone included.
        phone_s: seconds that phones cover.
        phone_runs: phones, neighbours of the same name counted as one.
        boundaries: of phones, against those where the units' phones change.
        edits: substitutions, insertions and deletions that turn the units' phones, without repetitions, into the phones.
        num_utterances: how many were measured.
    """

    phones: tuple[str, ...]
    joint_PK: np.ndarray
    rate_hz: float
    runs_K: np.ndarray
    unit_frames: int
    phone_s: float
    phone_runs: int
    boundaries: Boundaries
    edits: int
    num_utterances: int

    def __add__(self, other: Quality) -> Quality:
        if len(self.runs_K) != len(other.runs_K) or self.rate_hz != other.rate_hz:
            raise ValueError(
                f"qualities of {len(self.runs_K)} units at {self.rate_hz:g} Hz and of {len(other.runs_K)} units at "
                f"{other.rate_hz:g} Hz cannot be pooled: measure units of one codebook"
            )
        names = tuple(dict.fromkeys(self.phones + other.phones))
        joint_PK = np.zeros((len(names), len(self.runs_K)), np.int64)
        for one in (self, other):
            joint_PK[[names.index(name) for name in one.phones]] += one.joint_PK
        names, joint_PK = _most_frequent_first(names, joint_PK)
        return Quality(
            phones=names,
            joint_PK=joint_PK,
            rate_hz=self.rate_hz,
            runs_K=self.runs_K + other.runs_K,
            unit_frames=self.unit_frames + other.unit_frames,
            phone_s=self.phone_s + other.phone_s,
            phone_runs=self.phone_runs + other.phone_runs,
            boundaries=self.boundaries + other.boundaries,
            edits=self.edits + other.edits,
            num_utterances=self.num_utterances + other.num_utterances,
        )

    @property
    def num_frames(self) -> int:
        """Frames that have a phone and a unit."""
        return int(self.joint_PK.sum())

    @property
    def seconds(self) -> float:
        """Duration of the units."""
        return self.unit_frames / self.rate_hz

    @property
    def phone_entropy(self) -> float:
        """H(phone) over frames, in nats."""
        return entropy(self.joint_PK.sum(1))

    @property
    def unit_entropy(self) -> float:
        """H(unit) over frames, in nats."""
        return entropy(self.joint_PK.sum(0))

    @property
    def pnmi(self) -> float:
        """I(phone; unit) / H(phone), from 0 to 1: the share of what there is to know of a frame's phone that its unit tells. 0
        where all frames are of one phone."""
        if not self.phone_entropy:
            return 0.0
        information = self.phone_entropy + self.unit_entropy - entropy(self.joint_PK)
        return float(np.clip(information / self.phone_entropy, 0, 1))

    @property
    def phone_purity(self) -> float:
        """Share of frames whose phone is the most frequent one of their unit. It rises with the number of units."""
        return float(self.joint_PK.max(0).sum() / max(self.num_frames, 1))

    @property
    def cluster_purity(self) -> float:
        """Share of frames whose unit is the most frequent one of their phone."""
        return float(self.joint_PK.max(1).sum() / max(self.num_frames, 1))

    @property
    def num_active(self) -> int:
        """Units that occur."""
        return int((self.runs_K > 0).sum())

    @property
    def perplexity(self) -> float:
        """exp H(unit): how many equally frequent units would be as hard to guess."""
        return perplexity(self.joint_PK.sum(0))

    @property
    def phone_segment_s(self) -> float:
        """Mean duration of a phone, in seconds."""
        return self.phone_s / self.phone_runs if self.phone_runs else math.nan

    @property
    def unit_segment_s(self) -> float:
        """Mean duration of a run of the same unit, in seconds."""
        return self.seconds / self.runs_K.sum() if self.unit_frames else math.nan

    @property
    def bitrate(self) -> float:
        """Bits per second of the units without repetitions: runs per second times the entropy of a run's unit."""
        return bitrate(self.runs_K, seconds=self.seconds)

    @property
    def phone_error_rate(self) -> float:
        """Edits per phone of the reference. Over 1 where there are many more runs than phones."""
        return self.edits / self.phone_runs if self.phone_runs else math.nan

    def figures(self) -> dict[str, float]:
        """All measures by name, in the order of tables: entropies in nats, segments in seconds, the bit rate in bit/s."""
        return {
            "pnmi": self.pnmi,
            "phone_purity": self.phone_purity,
            "cluster_purity": self.cluster_purity,
            "per": self.phone_error_rate,
            "precision": self.boundaries.precision,
            "recall": self.boundaries.recall,
            "f1": self.boundaries.f1,
            "r_value": self.boundaries.r_value,
            "phone_entropy": self.phone_entropy,
            "unit_entropy": self.unit_entropy,
            "active_units": self.num_active,
            "perplexity": self.perplexity,
            "phone_segment_s": self.phone_segment_s,
            "unit_segment_s": self.unit_segment_s,
            "bitrate": self.bitrate,
            "num_phones": len(self.phones),
            "num_frames": self.num_frames,
            "num_utterances": self.num_utterances,
        }


def measure(
    units: Sequence[np.ndarray],
    phones: Sequence[Sequence[Interval]],
    *,
    rate_hz: float,
    num_units: int,
    one_to_one: bool = False,
) -> Quality:
    """Compare the units of utterances with their phones.

    For boundaries and phone errors each unit is read as the phone that it most often stands beside, in these very utterances
    (DiscoPhon's many-to-one assignment).

    Args:
        one_to_one: read each unit as another phone, so that most frames are read right (DiscoPhon's other track, which has as
            many units as phones, silence among them); what is left over where there are more units is read as no phone.
        units: (F,) of each utterance, from 0 to `num_units` - 1.
        phones: the phones of each, in the same order.
        rate_hz: units per second, and frames in which phones are counted.

    Raises:
        ValueError: there is no phone, or a unit beyond `num_units`.
    """
    if not any(map(len, phones)):
        raise ValueError(
            f"none of these {len(phones)} utterances has a phone: give the phones of the utterances with labels"
        )
    largest = max((int(units_F.max()) for units_F in units if len(units_F)), default=0)
    if largest >= num_units:
        raise ValueError(
            f"there is a unit {largest}, and the codebook has {num_units}: these are labels of another codebook"
        )
    units = [units_F.astype(np.int64) for units_F in units]
    return _measure(units, [merged(one) for one in phones], rate_hz=rate_hz, num_units=num_units, one_to_one=one_to_one)


def _measure(
    units: Sequence[np.ndarray],
    phones: Sequence[Sequence[Interval]],
    *,
    rate_hz: float,
    num_units: int,
    one_to_one: bool,
) -> Quality:
    names = tuple(sorted({one.phone for intervals in phones for one in intervals}))
    index = {name: number for number, name in enumerate(names)}
    joint_PK = np.zeros((len(names), num_units), np.int64)
    runs_K = np.zeros(num_units, np.int64)
    for units_F, intervals in zip(units, phones, strict=True):
        phones_F = aligned(intervals, num_frames=len(units_F), rate_hz=rate_hz, index=index)
        known_F = phones_F >= 0
        np.add.at(joint_PK, (phones_F[known_F], units_F[: len(phones_F)][known_F]), 1)
        np.add.at(runs_K, units_F[run_starts(units_F)], 1)
    names, joint_PK = _most_frequent_first(names, joint_PK)
    phone_of_unit_K = (_each_its_own if one_to_one else _most_frequent)(joint_PK)
    read_as = (*names, NO_PHONE)  # at -1, too
    boundaries, edits = Boundaries(), 0
    for units_F, intervals in zip(units, phones, strict=True):
        read_F = phone_of_unit_K[units_F]
        starts = run_starts(read_F)
        boundaries += compare(_boundaries(intervals), starts[1:] / rate_hz)
        edits += Levenshtein.distance([read_as[one] for one in read_F[starts]], [one.phone for one in intervals])
    return Quality(
        phones=names,
        joint_PK=joint_PK,
        rate_hz=rate_hz,
        runs_K=runs_K,
        unit_frames=sum(map(len, units)),
        phone_s=sum(one.end_s - one.start_s for intervals in phones for one in intervals),
        phone_runs=sum(map(len, phones)),
        boundaries=boundaries,
        edits=edits,
        num_utterances=len(units),
    )


def _most_frequent(joint_PK: np.ndarray) -> np.ndarray:
    """(K,): the phone that each unit stands beside most often."""
    return joint_PK.argmax(0) if len(joint_PK) else np.full(joint_PK.shape[1], -1)


def _each_its_own(joint_PK: np.ndarray) -> np.ndarray:
    """(K,): a phone for each unit, of no two the same, so that the frames read right are as many as can be; -1: none."""
    from scipy.optimize import linear_sum_assignment

    found_K = np.full(joint_PK.shape[1], -1)
    phones, units = linear_sum_assignment(joint_PK, maximize=True)
    found_K[units] = phones
    return found_K


def pooled(qualities: Iterable[Quality]) -> Quality:
    """All of them as one: counts added up. Each language keeps its own reading of units as phones."""
    return reduce(add, qualities)


def _boundaries(intervals: Sequence[Interval]) -> list[float]:
    """Where a phone ends and where another one begins, in seconds, once where they meet; neither the start nor the end of the
    utterance."""
    pairs = list(pairwise(intervals))
    ends = [earlier.end_s for earlier, _ in pairs]
    return ends + [later.start_s for earlier, later in pairs if not meet(earlier, later)]


def _most_frequent_first(names: tuple[str, ...], joint_PK: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Sorted by frames, then by name: of two phones that a unit stands beside equally often, the more frequent one is read."""
    order = sorted(range(len(names)), key=lambda row: (-joint_PK[row].sum(), names[row]))
    return tuple(names[row] for row in order), joint_PK[order]
