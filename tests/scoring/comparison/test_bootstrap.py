"""Bootstrap intervals against known truths and scipy's implementation."""

from __future__ import annotations

import time

import numpy as np
import pytest

from mlsuperb.scoring.comparison.bootstrap import Interval, difference_interval, rate_interval
from mlsuperb.scoring.counts import Counts, total


def simulated(num: int, rates: list[float], *, seed: int) -> list[list[Counts]]:
    """Utterances of 5 to 40 units, one list a system, each unit wrong with the system's rate; how hard an utterance is
    (a factor of 0 to 2) is the same for all systems."""
    draw = np.random.default_rng(seed)
    lengths, hard = draw.integers(5, 41, num), draw.uniform(0, 2, num)
    systems = [draw.binomial(lengths, rate * hard) for rate in rates]
    return [
        [
            Counts(
                num_utterances=1,
                substitutions=int(e),
                reference_length=int(n),
                lid_correct=int(e < n * rate),
                lid_total=1,
            )
            for e, n in zip(errors, lengths, strict=True)
        ]
        for errors, rate in zip(systems, rates, strict=True)
    ]


def test_nineteen_of_twenty_intervals_hold_the_truth():
    of_rate = of_difference = 0
    for seed in range(300):
        first, second = simulated(80, [0.2, 0.25], seed=seed)
        rate = rate_interval(first, num_resamples=400, seed=seed)
        difference = difference_interval(first, second, num_resamples=400, seed=seed)
        of_rate += rate.low <= 20 <= rate.high
        of_difference += difference.low <= 5 <= difference.high
    # 285 are expected; three standard deviations of a binomial are 11, and the percentile method is a little narrow
    assert 268 <= of_rate <= 297
    assert 268 <= of_difference <= 297


def test_scipy_finds_the_same_bounds():
    stats = pytest.importorskip("scipy.stats")
    first, second = simulated(60, [0.2, 0.3], seed=1)
    e1, e2 = (np.array([one.errors for one in counts]) for counts in (first, second))
    n = np.array([one.reference_length for one in first])

    def rate(e, n, axis=-1):
        return 100 * e.sum(axis=axis) / n.sum(axis=axis)

    def difference(e1, e2, n, axis=-1):
        return rate(e2, n, axis) - rate(e1, n, axis)

    options = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": 20_000, "rng": 3}
    for data, statistic, ours in (
        ((e1, n), rate, rate_interval(first, num_resamples=20_000)),
        ((e1, e2, n), difference, difference_interval(first, second, num_resamples=20_000)),
    ):
        theirs = stats.bootstrap(data, statistic, **options).confidence_interval
        assert ours.value == pytest.approx(statistic(*data))
        # other draws of the same distribution: bounds of 20,000 draws scatter by about a hundredth of the width
        width = theirs.high - theirs.low
        assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.04 * width)


def test_a_swap_turns_the_sign_and_nothing_else():
    first, second = simulated(50, [0.2, 0.3], seed=2)
    for of in ("error_rate", "lid_accuracy"):
        there, back = difference_interval(first, second, of=of), difference_interval(second, first, of=of)
        assert [back.value, back.low, back.high] == pytest.approx([-there.value, -there.high, -there.low])


def test_a_run_does_not_differ_from_itself():
    (counts,) = simulated(50, [0.2], seed=3)
    interval = difference_interval(counts, counts)
    assert interval == Interval(value=0, low=0, high=0)
    assert not interval.excludes_zero


def test_pairs_are_drawn_together():
    # the second is worse by one error in every utterance of ten units: 10 points in every draw
    first, _ = simulated(30, [0.3, 0.3], seed=4)
    ten = [Counts(num_utterances=1, deletions=one.errors, reference_length=10) for one in first]
    worse = [one + Counts(insertions=1) for one in ten]
    interval = difference_interval(ten, worse)
    assert [interval.value, interval.low, interval.high] == pytest.approx([10, 10, 10])
    assert interval.excludes_zero


def test_values_are_of_the_pooled_counts_and_seeds_repeat():
    (counts,) = simulated(40, [0.4], seed=5)
    for of in ("error_rate", "lid_accuracy"):
        interval = rate_interval(counts, of=of)
        assert interval.value == pytest.approx(getattr(total(counts), of))
        assert interval.low < interval.value < interval.high
        assert interval == rate_interval(counts, of=of)
    assert rate_interval(counts) != rate_interval(counts, seed=1)
    wide, narrow = rate_interval(counts, confidence=0.99), rate_interval(counts, confidence=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_nothing_to_rate_is_no_interval():
    without_text = Counts(num_utterances=1, insertions=2)
    one = Counts(num_utterances=1, substitutions=1, reference_length=4)
    assert rate_interval([]) is None
    assert rate_interval([without_text] * 5) is None
    assert rate_interval([one] * 5, of="lid_accuracy") is None
    assert rate_interval([one]) is None  # a width of 0 would be a lie
    assert difference_interval([one, one], [without_text] * 2) is None
    # insertions where there is no reference still count; draws without any reference are left out
    interval = rate_interval([without_text, one])
    assert (interval.value, interval.low) == (75.0, 25.0)


def test_draws_in_which_one_of_two_systems_has_nothing_to_rate_are_left_out():
    empty = Counts(num_utterances=1)
    wrong = Counts(num_utterances=1, substitutions=1, reference_length=4)
    interval = difference_interval([wrong, empty], [empty, wrong])  # 25 % each, in the draws that hold both
    assert (interval.value, interval.low, interval.high) == (0.0, 0.0, 0.0)


def test_a_large_test_set_takes_seconds_and_little_memory():
    first, second = simulated(24_000, [0.2, 0.21], seed=6)
    start = time.perf_counter()
    interval = difference_interval(first, second)
    assert time.perf_counter() - start < 10  # about 1 s on a free core
    assert interval.excludes_zero


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 95}, r"confidence is 95; give a share between 0 and 1"),
        ({"num_resamples": 0}, r"num_resamples is 0; give 1 or more"),
        ({"of": "cer"}, r"unknown rate 'cer'; choose error_rate or lid_accuracy"),
    ],
)
def test_mistakes_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        rate_interval([Counts(num_utterances=1, reference_length=3)] * 2, **options)


def test_other_numbers_of_utterances_are_no_pairs():
    one = Counts(num_utterances=1, reference_length=3)
    with pytest.raises(ValueError, match="the first has 2, the second 3"):
        difference_interval([one] * 2, [one] * 3)
