"""Sampling laws against a computation by hand and against what passes really hold; crops; ranks; resuming."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import pytest

from mlsuperb.data.batching import BucketedBatches, DealtBatches, TrainingBatches
from mlsuperb.data.sampling import Crops, Draw, Replay, Temperature, TwoLevel, Uniform

RNG = np.random.default_rng(0)
CELLS = {("deu", "mls"): 300, ("deu", "cv"): 90, ("eng", "mls"): 150, ("nan", "cv"): 20, ("nan", "fleurs"): 7}
PAIRS = [pair for pair, number in CELLS.items() for _ in range(number)]
LANGUAGES, DATASETS = (np.array([pair[at] for pair in PAIRS], dtype=object) for at in (0, 1))
DURATIONS_S = np.round(RNG.uniform(1, 12, len(PAIRS)), 2)


def by_hand(alpha: float, beta: float, sizes: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """p(l) p(x | l) of every pair, as mHuBERT-147 writes it."""
    languages: Counter[str] = Counter()
    for (language, _), size in sizes.items():
        languages[language] += size  # type: ignore[assignment]
    norm = sum((size / sum(sizes.values())) ** alpha for size in languages.values())
    found = {}
    for (language, dataset), size in sizes.items():
        within = sum((n / languages[language]) ** beta for (other, _), n in sizes.items() if other == language)
        p_language = (languages[language] / sum(sizes.values())) ** alpha / norm
        found[language, dataset] = p_language * (size / languages[language]) ** beta / within
    return found


def repeats_of(law: Any) -> np.ndarray:
    found = law.repeats(DURATIONS_S, languages=LANGUAGES, datasets=DATASETS)
    assert found is not None
    return found


@pytest.mark.parametrize("by", ["hours", "utterances"])
@pytest.mark.parametrize(("alpha", "beta"), [(0.7, 0.9), (0.5, 0.8), (0.0, 1.0)])
def test_passes_hold_what_the_law_says(alpha: float, beta: float, by: str) -> None:
    repeats = repeats_of(TwoLevel(alpha=alpha, beta=beta, by=by))  # type: ignore[arg-type]
    weights = DURATIONS_S if by == "hours" else np.ones(len(PAIRS))
    sizes: Counter[tuple[str, str]] = Counter()
    for pair, weight in zip(PAIRS, weights, strict=True):
        sizes[pair] += weight  # type: ignore[assignment]
    expected = by_hand(alpha, beta, dict(sizes))
    assert (repeats * weights).sum() == pytest.approx(weights.sum()), "the length of a pass stays"
    for pair, share in expected.items():
        mine = np.array([one == pair for one in PAIRS])
        assert (repeats * weights)[mine].sum() / weights.sum() == pytest.approx(share)
    # 200 passes: the number of times each utterance is seen, against its chance, by chi-square
    num, counts = 200, np.zeros(len(PAIRS))
    sampler = TrainingBatches(DURATIONS_S, batching=BucketedBatches(max_batch_s=80), seed=3, repeats=repeats)
    for epoch in range(num):
        counts += np.bincount(sampler._seen(np.random.default_rng([3, epoch])), minlength=len(PAIRS))
    fraction = repeats % 1
    chance = (fraction > 1e-6) & (fraction < 1 - 1e-6)
    assert chance.sum() > 100
    off = counts - num * repeats
    assert np.abs(off[~chance]).max(initial=0) < 1, "whole numbers of times are no matter of chance"
    chi_square = (off[chance] ** 2 / (num * fraction * (1 - fraction))[chance]).sum()
    assert abs(chi_square - chance.sum()) < 4 * np.sqrt(2 * chance.sum())


def test_both_powers_at_one_leave_the_corpus_and_a_temperature_is_its_first_level() -> None:
    assert repeats_of(TwoLevel(alpha=1, beta=1, by="hours")) == pytest.approx(np.ones(len(PAIRS)))
    one_level = repeats_of(TwoLevel(alpha=0.5, beta=1, by="hours"))
    assert repeats_of(Temperature(temperature=2)) == pytest.approx(one_level)
    assert Uniform().repeats(DURATIONS_S, languages=LANGUAGES, datasets=DATASETS) is None


def stream(start: int = 0, *, seed: int = 1, max_s: float = 5.0) -> TrainingBatches:
    repeats = repeats_of(TwoLevel(alpha=0.7, beta=0.9))
    batching = BucketedBatches(max_batch_s=60)
    return TrainingBatches(
        DURATIONS_S, batching=batching, seed=seed, start=start, repeats=repeats, crops=Crops(max_s=max_s)
    )


def test_crops_lie_in_their_utterances_and_have_one_length_in_a_batch() -> None:
    batches = list(islice(iter(stream()), 120))
    starts = [draw.start_s for batch in batches for draw in batch if not draw.whole]
    assert len(set(starts)) > 500, "they are random"
    for batch in batches:
        shortest_s = min(5.0, *(DURATIONS_S[draw.index] for draw in batch))
        for draw in batch:
            length_s = DURATIONS_S[draw.index] if draw.duration_s is None else draw.duration_s
            assert length_s == shortest_s
            assert 0 <= draw.start_s <= DURATIONS_S[draw.index] - length_s + 1e-9
        assert shortest_s * len(batch) <= 60, "batches are made up by what is seen"
    assert any(draw.whole for batch in batches for draw in batch)


def test_crops_are_of_the_seed_and_fill_their_batches() -> None:
    """Long utterances alone: what is seen of them is all that differs between seeds."""

    def first_batch(seed: int) -> list[Draw]:
        batching = BucketedBatches(max_batch_s=60, jitter=0)
        return next(iter(TrainingBatches(np.full(12, 30.0), batching=batching, seed=seed, crops=Crops(max_s=5.0))))

    starts = [{draw.index: draw.start_s for draw in first_batch(seed)} for seed in (0, 1)]
    assert [len(one) for one in starts] == [12, 12], "12 x 5 s are 60 s"
    assert not any(starts[0][index] == starts[1][index] for index in starts[0])


def test_starts_of_crops_are_uniform() -> None:
    draws = Crops(max_s=4.0).draws([0] * 10_000, np.array([10.0]), rng=np.random.default_rng(0))
    counts = np.histogram([draw.start_s for draw in draws], bins=10, range=(0, 6))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 27.9  # chi-square of 9 degrees of freedom: one in 1,000


@pytest.mark.parametrize("start", [0, 1, 37, 64, 65, 200])
def test_draws_resume_anywhere(start: int) -> None:
    whole = list(islice(iter(stream()), 230))
    assert list(islice(iter(stream(start)), 230 - start)) == whole[start:]
    assert list(islice(iter(stream(seed=2)), 30)) != whole[:30]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_share_the_draws_of_one_process(world: int) -> None:
    ranks = [islice(iter(DealtBatches(stream(), DURATIONS_S, rank=rank, world=world)), 80) for rank in range(world)]
    num_dealt = 0
    for hands, whole in zip(zip(*ranks, strict=True), iter(stream()), strict=False):
        if len(whole) < world:  # who has none takes another's
            continue
        dealt = sorted((draw for hand in hands for draw in hand), key=lambda draw: (draw.index, draw.start_s))
        assert dealt == sorted(whole, key=lambda draw: (draw.index, draw.start_s))
        num_dealt += 1
    assert num_dealt > 60


def test_a_draw_knows_whether_it_is_whole() -> None:
    assert [draw.whole for draw in (Draw(3), Draw(3, 0.5), Draw(3, 0.0, 1.0))] == [True, False, False]


def counted(law: TwoLevel, *, world: int, num_batches: int) -> Counter[tuple[str, str]]:
    """How often each pair is drawn in the first batches, over all ranks."""
    repeats = law.repeats(DURATIONS_S, languages=LANGUAGES, datasets=DATASETS)
    found: Counter[tuple[str, str]] = Counter()
    for rank in range(world):
        whole = TrainingBatches(DURATIONS_S, batching=BucketedBatches(max_batch_s=60), seed=3, repeats=repeats)
        dealt = DealtBatches(whole, DURATIONS_S, rank=rank, world=world)
        for draws in islice(iter(dealt), num_batches):
            if dealt.shares.popleft():  # else it only takes part
                found.update(PAIRS[draw.index] for draw in draws)
    return found


def chi_square(found: Counter[tuple[str, str]], shares: dict[tuple[str, str], float]) -> float:
    total = found.total()
    return sum((found[pair] - total * share) ** 2 / (total * share) for pair, share in shares.items())


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize(("alpha", "beta"), [(0.7, 0.9), (0.5, 0.8), (0.0, 0.3)])
def test_draws_over_epochs_and_ranks_follow_the_law(alpha: float, beta: float, world: int) -> None:
    """Chi-square with 4 degrees of freedom: 18.5 is exceeded once in 1,000 by the law itself, and far by its neighbours."""
    found = counted(TwoLevel(alpha=alpha, beta=beta), world=world, num_batches=800)  # about eleven passes
    sizes = {pair: float(number) for pair, number in CELLS.items()}
    assert found.total() > 5000
    assert chi_square(found, by_hand(alpha, beta, sizes)) < 18.5
    assert chi_square(found, by_hand(alpha + 0.15, beta, sizes)) > 18.5


def test_replay_is_a_share_of_the_audio() -> None:
    law = Replay(new=[str(LANGUAGES[0])], share=0.25)
    repeats_N = repeats_of(law)
    new_N = LANGUAGES[0] == LANGUAGES
    seen_s = repeats_N * DURATIONS_S
    assert seen_s.sum() == pytest.approx(DURATIONS_S.sum())
    assert seen_s[~new_N].sum() / seen_s.sum() == pytest.approx(0.25)
    for side in (new_N, ~new_N):
        assert repeats_N[side] == pytest.approx(repeats_N[side][0])


@pytest.mark.parametrize(
    ("new", "lacking"),
    [([], "nothing new"), (sorted(set(LANGUAGES)), "nothing to replay"), (["deu", "xyz"], "is of xyz, only of deu")],
)
def test_replay_needs_both_sides(new: list[str], lacking: str) -> None:
    with pytest.raises(ValueError, match=lacking):
        repeats_of(Replay(new=new, share=0.2))
