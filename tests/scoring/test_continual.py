"""Measures of continual learning, worked by hand."""

from __future__ import annotations

import pytest

from mlsuperb.scoring.continual import SEVERAL, continual_measures, expansion_changes
from mlsuperb.scoring.counts import Counts

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


def utterances(*errors: int) -> list[Counts]:
    return [Counts(num_utterances=1, substitutions=one, reference_length=10) for one in errors]


def test_gain_and_forgetting() -> None:
    base = {"rus": utterances(8, 6, 7, 9), "eng": utterances(1, 1, 1, 1), "deu": utterances(2, 2, 2, 2)}
    expanded = {"rus": utterances(3, 1, 2, 4), "eng": utterances(2, 2, 2, 2), "deu": utterances(2, 3, 2, 1)}
    changes = {(one.kind, one.language): one.interval for one in expansion_changes(base, expanded, new=["rus"])}
    assert set(changes) == {("gain", "rus"), *(("forgetting", name) for name in ("deu", "eng", SEVERAL))}
    gain, forgotten = changes["gain", "rus"], changes["forgetting", "eng"]
    assert gain is not None
    assert forgotten is not None
    assert (gain.value, gain.low, gain.high) == pytest.approx((50, 50, 50)), "paired: every utterance gained as much"
    assert (forgotten.value, forgotten.excludes_zero) == (pytest.approx(10), True)
    kept, pooled = changes["forgetting", "deu"], changes["forgetting", SEVERAL]
    assert kept is not None
    assert pooled is not None
    assert (kept.value, kept.excludes_zero) == (pytest.approx(0), False)
    assert pooled.value == pytest.approx(5)


def test_other_languages_or_utterances_are_refused() -> None:
    with pytest.raises(ValueError, match="measure both on the same languages"):
        expansion_changes({"rus": utterances(1, 2)}, {"eng": utterances(1, 2)}, new=["rus"])
    with pytest.raises(ValueError, match="measure both on the same languages"):
        expansion_changes({"eng": utterances(1, 2)}, {"eng": utterances(1, 2)}, new=["rus"])
    with pytest.raises(ValueError, match="the first has 3, the second 2"):
        expansion_changes({"rus": utterances(1, 2)}, {"rus": utterances(1, 2, 3)}, new=["rus"])
