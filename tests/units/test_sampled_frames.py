"""Which utterances a clustering sees, against the two-level law computed by hand."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from mlsuperb.data.sampling import TwoLevel
from mlsuperb.units.sample import sample

CELLS = {("deu", "mls"): 400, ("deu", "cv"): 90, ("eng", "mls"): 700, ("nan", "cv"): 60, ("nan", "fleurs"): 25}
ROWS = [pair for pair, number in CELLS.items() for _ in range(number)]
# utterances of all pairs lie mixed, as in a manifest
ROWS = [ROWS[index] for index in np.random.default_rng(1).permutation(len(ROWS))]
LANGUAGES, DATASETS = (np.array([row[at] for row in ROWS], dtype=object) for at in (0, 1))
DURATIONS_S = np.random.default_rng(2).uniform(2, 15, len(ROWS))
SIZE, RATE_HZ = 768, 50.0
GB_PER_S = SIZE * RATE_HZ * 4 / 2**30


def draw(
    budget_s: float, *, law: TwoLevel | None, seed: int = 0, durations_s: np.ndarray = DURATIONS_S, **changes: Any
) -> np.ndarray:
    given: dict[str, Any] = {"languages": LANGUAGES, "datasets": DATASETS, "feature_size": SIZE, "rate_hz": RATE_HZ}
    return sample(durations_s, law=law, budget_gb=budget_s * GB_PER_S, seed=seed, **given | changes)


def members(pair: tuple[str, str]) -> np.ndarray:
    return np.flatnonzero([row == pair for row in ROWS])


def shares_by_hand(alpha: float, beta: float, durations_s: np.ndarray = DURATIONS_S) -> dict[tuple[str, str], float]:
    """p(l) p(x | l), n being hours (arXiv 2406.06371)."""
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    for language, dataset in CELLS:
        seconds[language][dataset] = float(durations_s[members((language, dataset))].sum())
    sizes = {language: sum(of.values()) / durations_s.sum() for language, of in seconds.items()}
    found = {}
    for language, of in seconds.items():
        p_language = sizes[language] ** alpha / sum(size**alpha for size in sizes.values())
        within = {dataset: (one / sum(of.values())) ** beta for dataset, one in of.items()}
        found |= {(language, dataset): p_language * one / sum(within.values()) for dataset, one in within.items()}
    return found


@pytest.mark.parametrize("budget_s", [900.0, 5_000.0, 40_000.0])
@pytest.mark.parametrize(("alpha", "beta"), [(0.7, 0.9), (0.5, 0.8), (0.0, 0.0), (1.0, 1.0)])
def test_each_pair_gets_its_share_in_whole_copies_and_a_part(alpha: float, beta: float, budget_s: float) -> None:
    rows = draw(budget_s, law=TwoLevel(alpha=alpha, beta=beta))
    assert (np.diff(rows) >= 0).all()
    counts_N = np.bincount(rows, minlength=len(ROWS))
    for pair, share in shares_by_hand(alpha, beta).items():
        mine = members(pair)
        whole, given_s = int(share * budget_s // DURATIONS_S[mine].sum()), share * budget_s
        assert set(counts_N[mine]) <= {whole, whole + 1}
        used_s = (counts_N * DURATIONS_S)[mine].sum()
        assert given_s - 15 < used_s <= given_s + 1e-6, "the next utterance would exceed it"


def test_the_part_is_uniform() -> None:
    """Chi-square of how often each utterance is drawn, over seeds, utterances being of one length."""
    law, durations_s, num = TwoLevel(alpha=0.7, beta=0.9), np.full(len(ROWS), 8.0), 400
    counts_N = np.zeros(len(ROWS))
    for seed in range(num):
        counts_N += np.bincount(draw(5_000, law=law, seed=seed, durations_s=durations_s), minlength=len(ROWS))
    for pair, share in shares_by_hand(0.7, 0.9, durations_s).items():
        mine = members(pair)
        drawn = int(share * 5_000 // 8)
        whole, part = divmod(drawn, len(mine))
        assert counts_N[mine].sum() == num * drawn
        chance = part / len(mine)
        assert 0.05 < chance < 0.95
        # n - 1 degrees of freedom; without replacement, the variance of a count is that of a binomial times n / (n - 1)
        off = (counts_N[mine] - num * whole - num * chance) ** 2 / (num * chance * (1 - chance)) * (1 - 1 / len(mine))
        assert abs(off.sum() - (len(mine) - 1)) < 4.5 * np.sqrt(2 * (len(mine) - 1))


def test_sizes_are_hours_whatever_the_law_counts() -> None:
    one, other = (draw(5_000, law=TwoLevel(alpha=0.5, beta=0.8, by=by)) for by in ("hours", "utterances"))
    assert np.array_equal(one, other)


def test_without_a_law_the_corpus_is_cut_to_the_budget_and_never_repeated() -> None:
    rows = draw(3_000, law=None)
    assert len(set(rows)) == len(rows)
    assert 3_000 - 15 < DURATIONS_S[rows].sum() <= 3_000
    assert np.array_equal(draw(10**6, law=None), np.arange(len(ROWS)))


def test_the_seed_decides() -> None:
    for law in (None, TwoLevel(alpha=0.7, beta=0.9)):
        assert np.array_equal(draw(5_000, law=law, seed=3), draw(5_000, law=law, seed=3))
        assert not np.array_equal(draw(5_000, law=law, seed=3), draw(5_000, law=law, seed=4))


def test_the_budget_is_of_memory() -> None:
    """MFCCs at 100 Hz take a tenth of the memory of 768 numbers at 50 Hz."""
    rows = draw(1_000, law=None, feature_size=39, rate_hz=100.0)
    assert DURATIONS_S[rows].sum() == pytest.approx(1_000 * 3072 * 50 / (156 * 100), abs=15)


def test_the_share_of_the_corpus_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    draw(1_000, law=None)
    assert f"hold 0.28 h of features, {100_000 / DURATIONS_S.sum():.1f} % of the corpus" in caplog.text


def test_a_language_without_audio_is_refused_by_name() -> None:
    durations_s = np.where(LANGUAGES == "nan", 0.0, DURATIONS_S)
    for law in (None, TwoLevel(alpha=0.7, beta=0.9)):
        with pytest.raises(
            ValueError, match=r"1 of 3 languages have less audio than one frame.*: nan\. Leave them out"
        ):
            draw(1_000, law=law, durations_s=durations_s)


def test_a_budget_below_an_utterance_is_refused_and_a_share_below_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match=r"no utterance fits into the part.*Raise it"):
        draw(1.0, law=TwoLevel(alpha=0.7, beta=0.9))
    rows = draw(40.0, law=TwoLevel(alpha=1.0, beta=1.0))
    assert rows.size
    assert "no utterance fits into the parts of 1 languages, which are left out: nan" in caplog.text


def test_no_utterances() -> None:
    empty = np.array([], dtype=object)
    with pytest.raises(ValueError, match="there are no utterances to cluster"):
        draw(1_000, law=None, durations_s=np.zeros(0), languages=empty, datasets=empty)
