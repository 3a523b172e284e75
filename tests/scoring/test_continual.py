"""Measures of continual learning, worked by hand."""

from __future__ import annotations

import pytest

from mlsuperb.scoring.continual import continual_measures

LEARNT = {"eng": 0, "deu": 0, "wol": 1, "rus": 2}
RATES = [
    {"eng": 10.0, "deu": 20.0, "wol": 90.0},  # what is not learnt yet does not count
    {"eng": 14.0, "deu": 26.0, "wol": 40.0},
    {"eng": 20.0, "deu": 40.0, "wol": 52.0, "rus": 30.0},
]


def test_three_stages_by_hand() -> None:
    """Tasks: (15), (20, 40), (30, 52, 30): the base languages are one task, not two."""
    single, joint = {"wol": 38.0, "rus": 33.0}, {"eng": 12.0, "deu": 22.0, "wol": 41.0, "rus": 24.0}
    base, second, third = continual_measures(RATES, learnt=LEARNT, single=single, joint=joint)
    assert (base.awer, base.bwt, base.fwt, base.im) == (15, None, None, None)
    assert (second.awer, second.bwt, second.fwt, second.im) == pytest.approx((30, -5, -2, -1))
    assert third.awer == pytest.approx((30 + 52 + 30) / 3)
    assert third.bwt == pytest.approx(((15 - 30) + (40 - 52)) / 2)
    assert (third.fwt, third.im) == pytest.approx((3, 6))


def test_without_references_there_is_no_forward_transfer_and_no_intransigence() -> None:
    last = continual_measures(RATES, learnt=LEARNT, joint={"wol": 41.0})[-1]
    assert (last.fwt, last.im) == (None, None)
    assert last.bwt is not None


def test_a_model_that_forgets_nothing_has_no_backward_transfer() -> None:
    rates = [{"eng": 10.0}, {"eng": 10.0, "rus": 30.0}]
    assert continual_measures(rates, learnt={"eng": 0, "rus": 1})[1].bwt == 0


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"stage 1 has no error rate of deu, wol"):
        continual_measures([RATES[0], {"eng": 1.0}], learnt={"eng": 0, "deu": 0, "wol": 1})
    with pytest.raises(ValueError, match=r"no language was learnt in stage 1, of 2"):
        continual_measures(RATES[:2], learnt={"eng": 0, "deu": 0, "wol": 2})
