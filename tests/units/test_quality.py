"""Measures of units against phones: by hand, by brute force, by scikit-learn, on a real corpus."""

from __future__ import annotations

import math
from collections import Counter
from itertools import groupby, permutations

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from mlsuperb.units.boundaries import Boundaries, compare
from mlsuperb.units.phones import Interval, aligned
from mlsuperb.units.quality import Quality, _each_its_own, measure, pooled
from mlsuperb.units.usage import bitrate, perplexity

RATE_HZ = 50.0


def utterance(rng: np.random.Generator, *, num_phones: int, names: str = "abcde") -> list[Interval]:
    """Phones of random lengths, in whole milliseconds, not bound to frames."""
    ends = np.cumsum(rng.integers(30, 150, num_phones)) / 1000
    starts = [0.0, *ends[:-1]]
    chosen = [names[place] for place in rng.integers(0, len(names), num_phones)]
    return [Interval(float(start), float(end), name) for start, end, name in zip(starts, ends, chosen, strict=True)]


def random_case(seed: int, *, num_units: int = 7) -> tuple[list[np.ndarray], list[list[Interval]]]:
    rng = np.random.default_rng(seed)
    phones = [utterance(rng, num_phones=int(rng.integers(5, 20))) for _ in range(6)]
    units = []
    for intervals in phones:
        num_frames = int(intervals[-1].end_s * RATE_HZ) - int(rng.integers(0, 2))
        favourite = {"a": 0, "b": 1, "c": 1, "d": 2, "e": 3}
        index = {name: favourite[name] for name in "abcde"}
        units_F = aligned(intervals, num_frames=num_frames, rate_hz=RATE_HZ, index=index)
        noisy_F = rng.random(len(units_F)) < 0.3
        units.append(np.where(noisy_F, rng.integers(0, num_units, len(units_F)), units_F).astype(np.uint16))
    return units, phones


def framed(units: list[np.ndarray], phones: list[list[Interval]]) -> tuple[list[str], list[int]]:
    """The phone of each frame and its unit, one frame at a time."""
    pairs = [
        (interval.phone, int(unit))
        for units_F, intervals in zip(units, phones, strict=True)
        for number, unit in enumerate(units_F)
        for interval in intervals
        if interval.start_s <= (number + 0.5) / RATE_HZ < interval.end_s
    ]
    return [phone for phone, _ in pairs], [unit for _, unit in pairs]


@pytest.mark.parametrize("num_units", [3, 5, 7])
@pytest.mark.parametrize("seed", range(3))
def test_one_to_one_reads_most_frames_right_of_all_assignments(seed: int, num_units: int) -> None:
    units, phones = random_case(seed, num_units=num_units)
    units = [np.minimum(one, num_units - 1) for one in units]
    joint_PK = measure(units, phones, rate_hz=RATE_HZ, num_units=num_units).joint_PK
    found_K = _each_its_own(joint_PK)
    read = [(phone, unit) for unit, phone in enumerate(found_K) if phone >= 0]
    assert len({phone for phone, _ in read}) == len(read) == min(joint_PK.shape)
    padded = np.zeros((max(joint_PK.shape),) * 2, int)
    padded[: joint_PK.shape[0], : joint_PK.shape[1]] = joint_PK
    best = max(
        sum(padded[row, column] for column, row in enumerate(order)) for order in permutations(range(len(padded)))
    )
    assert sum(joint_PK[pair] for pair in read) == best


def test_a_unit_too_many_is_no_phone_one_to_one() -> None:
    phones = [[Interval(0.0, 0.08, "a"), Interval(0.08, 0.12, "b")]]
    units = [np.array([0, 0, 0, 1, 2, 2])]  # 1 stands beside a alone, which 0 is read as
    many, own = (measure(units, phones, rate_hz=RATE_HZ, num_units=3, one_to_one=one) for one in (False, True))
    assert (many.phone_error_rate, many.boundaries.f1) == (0, 1)
    assert own.phone_error_rate == 0.5, "a, nothing, b for a, b"
    assert own.boundaries.precision == 0.5
    assert own.pnmi == many.pnmi


@pytest.mark.parametrize("seed", range(5))
def test_information_is_that_of_scikit_learn(seed: int) -> None:
    units, phones = random_case(seed)
    quality = measure(units, phones, rate_hz=RATE_HZ, num_units=7)
    of_phone, of_unit = framed(units, phones)
    information = mutual_info_score(of_phone, of_unit)
    assert quality.num_frames == len(of_phone)
    assert quality.phone_entropy == pytest.approx(mutual_info_score(of_phone, of_phone))
    assert quality.unit_entropy == pytest.approx(mutual_info_score(of_unit, of_unit))
    assert quality.pnmi == pytest.approx(information / mutual_info_score(of_phone, of_phone))
    assert 0.1 < quality.pnmi < 0.9


@pytest.mark.parametrize("seed", range(5))
def test_purities_by_counting(seed: int) -> None:
    units, phones = random_case(seed)
    quality = measure(units, phones, rate_hz=RATE_HZ, num_units=7)
    of_phone, of_unit = framed(units, phones)
    pairs = Counter(zip(of_phone, of_unit, strict=True))
    best_of_unit = sum(max(pairs[phone, unit] for phone in set(of_phone)) for unit in set(of_unit))
    best_of_phone = sum(max(pairs[phone, unit] for unit in set(of_unit)) for phone in set(of_phone))
    assert quality.phone_purity == pytest.approx(best_of_unit / len(of_phone))
    assert quality.cluster_purity == pytest.approx(best_of_phone / len(of_phone))


def edit_distance(first: list[str], second: list[str]) -> int:
    """Wagner and Fischer's table."""
    table = np.zeros((len(first) + 1, len(second) + 1), int)
    table[:, 0], table[0] = np.arange(len(first) + 1), np.arange(len(second) + 1)
    for row, one in enumerate(first, 1):
        for column, other in enumerate(second, 1):
            table[row, column] = min(
                table[row - 1, column] + 1, table[row, column - 1] + 1, table[row - 1, column - 1] + (one != other)
            )
    return int(table[-1, -1])


@pytest.mark.parametrize("seed", range(5))
def test_phone_errors_of_the_units_read_as_their_phones(seed: int) -> None:
    units, phones = random_case(seed)
    quality = measure(units, phones, rate_hz=RATE_HZ, num_units=7)
    of_phone, of_unit = framed(units, phones)
    frequency, pairs = Counter(of_phone), Counter(zip(of_phone, of_unit, strict=True))
    phone_of = {
        unit: max(frequency, key=lambda phone, unit=unit: (pairs[phone, unit], frequency[phone])) for unit in range(7)
    }
    edits = wanted = 0
    for units_F, intervals in zip(units, phones, strict=True):
        read = [phone for phone, _ in groupby(phone_of[int(unit)] for unit in units_F)]
        reference = [phone for phone, _ in groupby(one.phone for one in intervals)]
        edits, wanted = edits + edit_distance(read, reference), wanted + len(reference)
    assert (quality.edits, quality.phone_runs) == (edits, wanted)
    assert quality.phone_error_rate == edits / wanted


def hits_in_windows(wanted_ms: list[int], found_ms: list[int], margin_ms: int = 20) -> int:
    """DiscoPhon's rule as it is written: a window around each wanted boundary, overlapping ones split in the middle, which the
    earlier one keeps; a window that holds a found boundary is a hit."""
    hits = 0
    for place, time in enumerate(wanted_ms):
        lower, upper = time - margin_ms, time + margin_ms
        if place > 0:
            lower = max(lower, (wanted_ms[place - 1] + time) // 2 + 1)
        if place + 1 < len(wanted_ms):
            upper = min(upper, (time + wanted_ms[place + 1]) // 2)
        hits += any(lower <= one <= upper for one in found_ms)
    return hits


def test_boundaries_are_matched_in_windows() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        wanted, found = (
            sorted(set(rng.integers(0, rng.integers(20, 400), rng.integers(0, 12)).tolist())) for _ in range(2)
        )
        counted = compare(np.array(wanted) / 1000, np.array(found) / 1000)
        assert counted == Boundaries(wanted=len(wanted), found=len(found), hits=hits_in_windows(wanted, found))


def test_r_value_by_hand() -> None:
    # windows 80..120, 280..320 and 321..360 ms: 0.1 and 0.32 are hits, 0.11 is one too many
    counted = compare([0.1, 0.3, 0.34], [0.1, 0.11, 0.32])
    assert counted == Boundaries(wanted=3, found=3, hits=2)
    assert (counted.precision, counted.recall, counted.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    # OS = 0: r1 = 1/3, r2 = 1/3 / sqrt(2)
    assert counted.r_value == pytest.approx(1 - (1 / 3 + 1 / 3 / math.sqrt(2)) / 2)
    assert Boundaries(wanted=5, found=5, hits=5).r_value == 1
    # three times as many as there are, all found: OS = 2, r1 = 2, r2 = sqrt(2)
    assert Boundaries(wanted=5, found=15, hits=5).r_value == pytest.approx(1 - (2 + math.sqrt(2)) / 2)
    assert math.isnan(Boundaries(found=3).r_value)
    assert compare([0.3], [0.32]).hits == 1  # 20 ms is within the tolerance, whatever 0.32 - 0.3 is in floating point
    assert compare([0.3], [0.321]).hits == 0


def test_a_case_by_hand() -> None:
    """Two phones of 0.1 s, five frames of 20 ms each; unit 0 beside a, units 1 and 2 beside b, one frame of a under unit 1."""
    phones = [[Interval(0.0, 0.1, "a"), Interval(0.1, 0.2, "b")]]
    quality = measure([np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 1])], phones, rate_hz=RATE_HZ, num_units=4)
    assert quality.phones == ("a", "b")
    assert quality.joint_PK.tolist() == [[4, 1, 0, 0], [0, 3, 2, 0]]
    assert quality.phone_entropy == pytest.approx(math.log(2))
    information = 0.4 * math.log(0.4 / (0.5 * 0.4)) + 0.1 * math.log(0.1 / (0.5 * 0.4))
    information += 0.3 * math.log(0.3 / (0.5 * 0.4)) + 0.2 * math.log(0.2 / (0.5 * 0.2))
    assert quality.pnmi == pytest.approx(information / math.log(2))
    assert (quality.phone_purity, quality.cluster_purity) == pytest.approx((0.9, 0.7))
    assert quality.num_active == 3
    assert quality.perplexity == pytest.approx(math.exp(-(0.8 * math.log(0.4) + 0.2 * math.log(0.2))))
    assert quality.phone_segment_s == pytest.approx(0.1)
    assert quality.unit_segment_s == pytest.approx(0.2 / 4)  # 0, 1, 2, 1
    assert quality.bitrate == pytest.approx(4 / 0.2 * 1.5)  # entropy of 1/4, 1/2, 1/4
    # units 1 and 2 are read as b: the boundary is found at 0.08 s, 20 ms early; no phone is wrong
    assert quality.boundaries == Boundaries(wanted=1, found=1, hits=1)
    assert quality.phone_error_rate == 0
    assert list(quality.figures())[:4] == ["pnmi", "phone_purity", "cluster_purity", "per"]


def test_perfect_and_useless_units() -> None:
    rng = np.random.default_rng(1)
    phones = [utterance(rng, num_phones=30) for _ in range(20)]
    index = {name: number for number, name in enumerate("abcde")}
    frames = [aligned(one, num_frames=int(one[-1].end_s * RATE_HZ), rate_hz=RATE_HZ, index=index) for one in phones]
    perfect = measure(frames, phones, rate_hz=RATE_HZ, num_units=5)
    assert perfect.pnmi == pytest.approx(1)
    assert perfect.phone_purity == perfect.cluster_purity == 1
    # a boundary is up to half a frame off, and hardly a phone is shorter than a frame
    assert min(perfect.boundaries.f1, perfect.boundaries.r_value) > 0.99
    assert perfect.phone_error_rate < 0.01
    constant = measure([np.zeros(len(one), int) for one in frames], phones, rate_hz=RATE_HZ, num_units=5)
    assert constant.pnmi == pytest.approx(0)
    assert constant.boundaries.found == 0
    assert constant.bitrate == 0
    shuffled = measure([rng.permutation(one) for one in frames], phones, rate_hz=RATE_HZ, num_units=5)
    assert shuffled.pnmi < 0.05


def test_renaming_units_and_phones_changes_nothing() -> None:
    units, phones = random_case(3)
    first = measure(units, phones, rate_hz=RATE_HZ, num_units=7)
    order = np.random.default_rng(0).permutation(7)
    renamed = [[one._replace(phone=one.phone + "ː") for one in intervals] for intervals in phones]
    second = measure([order[units_F] for units_F in units], renamed, rate_hz=RATE_HZ, num_units=7)
    assert second.figures() == pytest.approx(first.figures())


def test_marks_that_differ_by_rounding_are_one_boundary() -> None:
    """Ends and starts of neighbours that meet (`phones.meet`: up to 0.1 ms apart, or overlapping as much) are one time; those of
    a real gap are two."""
    exact = [Interval(0.0, 0.1, "a"), Interval(0.1, 0.2, "b"), Interval(0.2, 0.3, "c")]
    rounded = [Interval(0.0, 0.09996, "a"), Interval(0.10001, 0.20005, "b"), Interval(0.19998, 0.3, "c")]
    units = [np.repeat([0, 1, 2], 5)]
    one, other = (measure(units, [phones], rate_hz=RATE_HZ, num_units=3).boundaries for phones in (exact, rounded))
    assert one == other == Boundaries(wanted=2, found=2, hits=2)
    gap = [exact[0], exact[1]._replace(start_s=0.1002), exact[2]]
    assert measure(units, [gap], rate_hz=RATE_HZ, num_units=3).boundaries.wanted == 3


def test_nothing_counted_has_no_perplexity_and_no_bits() -> None:
    assert perplexity(np.zeros(3, int)) == 0
    assert math.isnan(bitrate(np.zeros(3, int), seconds=0.0))
    assert perplexity(np.array([2, 0, 2, 2])) == pytest.approx(3)
    assert bitrate(np.array([8, 0, 8]), seconds=4.0) == pytest.approx(16 / 4)


def test_languages_are_pooled_by_their_counts() -> None:
    """A pool of parts of one language has the counts of the whole; phones of the same name are one phone."""
    units, phones = random_case(5)
    whole = measure(units, phones, rate_hz=RATE_HZ, num_units=7)
    parts = [measure(units[at : at + 2], phones[at : at + 2], rate_hz=RATE_HZ, num_units=7) for at in (0, 2, 4)]
    together = pooled(parts)
    assert together.phones == whole.phones
    assert np.array_equal(together.joint_PK, whole.joint_PK)
    same = {"pnmi", "phone_purity", "cluster_purity", "bitrate", "perplexity", "num_utterances", "phone_segment_s"}
    assert {name: together.figures()[name] for name in same} == pytest.approx(
        {name: whole.figures()[name] for name in same}
    )
    assert together.boundaries.wanted == whole.boundaries.wanted
    assert together.edits == sum(part.edits for part in parts)
    other = measure(
        units, [[one._replace(phone="x" + one.phone) for one in row] for row in phones], rate_hz=RATE_HZ, num_units=7
    )
    both = pooled([whole, other])
    assert len(both.phones) == 10
    assert both.phone_entropy == pytest.approx(whole.phone_entropy + math.log(2))
    with pytest.raises(ValueError, match="one codebook"):
        pooled([whole, measure(units, phones, rate_hz=RATE_HZ, num_units=9)])


def test_frames_without_a_phone_are_not_counted() -> None:
    phones = [[Interval(0.1, 0.2, "a"), Interval(0.3, 0.4, "b")]]
    quality = measure([np.repeat([0, 1, 2, 3, 4], 5)], phones, rate_hz=RATE_HZ, num_units=5)
    assert quality.num_frames == 10
    assert quality.joint_PK.sum(0).tolist() == [0, 5, 0, 5, 0]
    assert quality.num_active == 5
    assert quality.boundaries.wanted == 2  # where a ends and where b begins


def test_what_cannot_be_measured_is_refused() -> None:
    phones = [[Interval(0.0, 0.1, "a")]]
    with pytest.raises(ValueError, match="a unit 5, and the codebook has 5"):
        measure([np.array([0, 5])], phones, rate_hz=RATE_HZ, num_units=5)
    with pytest.raises(ValueError, match="none of these 1 utterances has a phone"):
        measure([np.array([0, 4])], [[]], rate_hz=RATE_HZ, num_units=5)
    one = measure([np.array([0, 0, 0, 0, 0])], phones, rate_hz=RATE_HZ, num_units=5)
    assert isinstance(one, Quality)
    assert one.pnmi == 0  # a single phone: there is nothing to know
