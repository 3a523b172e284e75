from itertools import islice, pairwise

import numpy as np
import pytest

from mlsuperb.data import batching as module
from mlsuperb.data.batching import (
    BucketedBatches,
    DealtBatches,
    InferenceBatches,
    SortedBatches,
    TrainingBatches,
    cut,
    deal,
)
from mlsuperb.data.sampling import Draw, Temperature

DURATIONS_S = np.random.default_rng(0).uniform(0.5, 12.0, size=203)


def indices(batch: list[Draw]) -> list[int]:
    assert all(draw.whole for draw in batch)
    return [draw.index for draw in batch]


def tempered(durations_s: np.ndarray, languages: np.ndarray, temperature: float) -> np.ndarray | None:
    return Temperature(temperature=temperature).repeats(durations_s, languages=languages, datasets=languages)


def test_sorted_batches_are_near_equal_cuts_of_the_sorted_list() -> None:
    batches = SortedBatches(batch_size=8).plan(DURATIONS_S, rng=np.random.default_rng(1))
    assert len(batches) == 203 // 8
    assert {len(batch) for batch in batches} <= {8, 9}
    assert sorted(np.concatenate(batches)) == list(range(203))
    by_length = sorted(batches, key=lambda batch: DURATIONS_S[batch[0]])
    for shorter, longer in pairwise(by_length):
        assert DURATIONS_S[shorter].max() <= DURATIONS_S[longer].min()
    assert all((np.diff(DURATIONS_S[batch]) <= 0).all() for batch in batches), "longest first"


def test_sorted_batches_of_a_corpus_smaller_than_a_batch() -> None:
    (batch,) = SortedBatches(batch_size=8).plan(DURATIONS_S[:5], rng=np.random.default_rng(1))
    assert sorted(batch) == [0, 1, 2, 3, 4]


def test_bucketed_batches_stay_within_their_padded_seconds() -> None:
    batches = BucketedBatches(max_batch_s=40, max_batch_size=16).plan(DURATIONS_S, rng=np.random.default_rng(1))
    assert sorted(np.concatenate(batches)) == list(range(203))
    assert all(DURATIONS_S[batch].max() * len(batch) <= 40 and len(batch) <= 16 for batch in batches)
    padded_s = sum(DURATIONS_S[batch].max() * len(batch) for batch in batches)
    assert padded_s < 1.25 * DURATIONS_S.sum()


def test_an_utterance_longer_than_a_batch_is_a_batch_of_its_own() -> None:
    batches = BucketedBatches(max_batch_s=5, jitter=0).plan(np.array([1.0, 30.0, 2.0]), rng=np.random.default_rng(0))
    assert sorted(sorted(batch) for batch in batches) == [[0, 2], [1]]


@pytest.mark.parametrize("batching", [SortedBatches(batch_size=8), BucketedBatches(max_batch_s=40)])
@pytest.mark.parametrize("start", [0, 1, 24, 25, 26, 70])
def test_a_resumed_stream_goes_on_with_the_next_batch(batching: SortedBatches | BucketedBatches, start: int) -> None:
    def take(first: int, number: int) -> list[list[Draw]]:
        stream = iter(TrainingBatches(DURATIONS_S, batching=batching, seed=3, start=first))
        return [next(stream) for _ in range(number)]

    assert take(0, 90)[start:] == take(start, 90 - start)


def test_passes_differ_and_each_sees_everything_once() -> None:
    stream = iter(TrainingBatches(DURATIONS_S, batching=SortedBatches(batch_size=8), seed=3))
    first, second = ([next(stream) for _ in range(25)] for _ in range(2))
    assert first != second
    assert sorted(map(indices, first)) == sorted(map(indices, second))


@pytest.mark.parametrize("batching", [SortedBatches(batch_size=8), BucketedBatches(max_batch_s=40)])
def test_another_seed_is_another_order(batching: SortedBatches | BucketedBatches) -> None:
    first, second = (next(iter(TrainingBatches(DURATIONS_S, batching=batching, seed=seed))) for seed in (0, 1))
    assert first != second


def test_no_training_data_is_an_error() -> None:
    with pytest.raises(ValueError, match="no utterance to train on"):
        TrainingBatches(np.array([]), batching=SortedBatches(batch_size=8), seed=0)


def test_inference_sees_everything_once_longest_first() -> None:
    batches = list(InferenceBatches(DURATIONS_S, max_batch_s=60))
    assert sorted(index for batch in batches for index in batch) == list(range(203))
    assert batches[0][0] == DURATIONS_S.argmax()
    assert all(DURATIONS_S[batch].min() >= 0.9 * DURATIONS_S[batch].max() for batch in batches)
    assert all(len(batch) == 1 or len(batch) * DURATIONS_S[batch].max() <= 60 for batch in batches)


def test_temperature_moves_shares_towards_equal_ones() -> None:
    """Hours 8 : 2 become sqrt(8) : sqrt(2) = 2 : 1 at temperature 2; the length of a pass stays."""
    durations_s, languages = np.ones(1000), np.array(["eng"] * 800 + ["swa"] * 200)
    repeats = tempered(durations_s, languages, 2)
    assert repeats is not None
    assert repeats[:800].sum() == pytest.approx(2000 / 3)
    assert repeats[800:].sum() == pytest.approx(1000 / 3)
    assert tempered(durations_s, languages, 1) is None
    sampler = TrainingBatches(durations_s, batching=SortedBatches(batch_size=10), seed=0, repeats=repeats)
    seen = np.concatenate([indices(batch) for batch in islice(iter(sampler), 100)])
    assert np.mean(seen >= 800) == pytest.approx(1 / 3, abs=0.04)
    assert set(range(800, 1000)) <= set(seen.tolist())  # 1.67 times each: at least once


def test_a_tempered_stream_resumes_with_the_next_batch() -> None:
    durations_s, languages = np.linspace(1, 9, 60), np.array(["eng"] * 45 + ["swa"] * 15)
    repeats = tempered(durations_s, languages, 5)

    def stream(start: int) -> list[list[Draw]]:
        batching = BucketedBatches(max_batch_s=40)
        sampler = TrainingBatches(durations_s, batching=batching, seed=1, start=start, repeats=repeats)
        return list(islice(iter(sampler), 30))

    assert stream(7)[:20] == stream(0)[7:27]


def cut_one_by_one(
    order: np.ndarray, durations_s: np.ndarray, max_batch_s: float, max_batch_size: int
) -> list[list[int]]:
    """What `cut` says in words: an utterance goes into the batch that is open, if it fits there."""
    batches: list[list[int]] = []
    for index in order.tolist():
        longer = [*batches[-1], index] if batches else []
        if longer and len(longer) <= max_batch_size and durations_s[longer].max() * len(longer) <= max_batch_s:
            batches[-1] = longer
        else:
            batches.append([index])
    return batches


def test_cut_is_the_greedy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, num_cases = np.random.default_rng(5), 0
    monkeypatch.setattr(module, "_PIECE", 7)  # pieces of the work do not show in the batches
    for size in (0, 1, 6, 7, 8, 150):
        for kind in ("rounded", "whole", "equal"):
            durations_s = {
                "rounded": np.round(rng.lognormal(1, 0.8, size), 2) + 0.01,
                "whole": rng.integers(1, 6, size).astype(float),  # padded seconds that meet the limit exactly
                "equal": np.full(size, 2.5),
            }[kind]
            orders = [np.argsort(-durations_s, kind="stable"), rng.permutation(size), np.arange(size)[: size // 2]]
            for order in orders:
                for max_batch_s, max_batch_size in [(10.0, 64), (30.0, 3), (0.5, 8), (1000.0, 1), (1000.0, 40)]:
                    found = [batch.tolist() for batch in cut(order, durations_s, max_batch_s, max_batch_size)]
                    assert found == cut_one_by_one(order, durations_s, max_batch_s, max_batch_size)
                    num_cases += 1
    assert num_cases == 6 * 3 * 3 * 5


def test_plans_are_those_of_a_list_of_batches() -> None:
    """The plans that ESPnet's sampler and a list of batches give, in the order that the generator draws."""
    for size in (1, 5, 8, 9, 203):
        durations_s = np.round(DURATIONS_S[:size])  # with ties
        order, number = np.argsort(durations_s, kind="stable").tolist(), max(1, size // 8)
        edges = [part * size // number for part in range(number + 1)]
        batches = [order[start:end][::-1] for start, end in pairwise(edges)]
        chosen = np.random.default_rng(2).permutation(number)
        plan = SortedBatches(batch_size=8).plan(durations_s, rng=np.random.default_rng(2))
        assert [batch.tolist() for batch in plan] == [batches[index] for index in chosen]
        rng = np.random.default_rng(2)
        noisy = durations_s * (1 + rng.uniform(0, 0.2, size=size))
        batches = cut_one_by_one(np.argsort(noisy, kind="stable"), durations_s, 40.0, 16)
        expected = [batches[index] for index in rng.permutation(len(batches))]
        bucketed = BucketedBatches(max_batch_s=40.0, max_batch_size=16)
        plan = bucketed.plan(durations_s, rng=np.random.default_rng(2))
        assert [batch.tolist() for batch in plan] == expected
        assert [batch.tolist() for batch in plan.take(slice(1, None))] == expected[1:]
        assert [batch.tolist() for batch in plan.take(slice(1, None, 2))] == expected[1::2]


@pytest.mark.parametrize("world", [1, 2, 3, 7, 16])
def test_a_batch_is_dealt_out_whole_and_evenly(world: int) -> None:
    batch = [Draw(index) for index in range(10, 26)]
    hands = [deal(batch, DURATIONS_S, rank=rank, world=world) for rank in range(world)]
    assert sorted((draw for rows, _ in hands for draw in rows), key=lambda draw: draw.index) == batch
    assert sum(share for _, share in hands) == pytest.approx(1)
    assert {len(rows) for rows, _ in hands} <= {16 // world, 16 // world + 1}
    work_s = [DURATIONS_S[indices(rows)].sum() for rows, _ in hands]
    assert max(work_s) - min(work_s) <= DURATIONS_S[10:26].max()


def test_one_process_has_its_batches_as_they_are() -> None:
    batch = [Draw(5), Draw(3), Draw(4)]
    assert deal(batch, DURATIONS_S, rank=0, world=1) == (batch, 1.0)


def test_a_process_that_gets_none_takes_part_with_the_shortest_row() -> None:
    longest, shortest = sorted([Draw(0), Draw(1)], key=lambda draw: -DURATIONS_S[draw.index])
    hands = [deal([Draw(0), Draw(1)], DURATIONS_S, rank=rank, world=4) for rank in range(4)]
    assert hands == [([longest], 0.5), ([shortest], 0.5), ([shortest], 0.0), ([shortest], 0.0)]


def test_shares_wait_for_batches_that_a_loader_has_in_advance() -> None:
    whole = TrainingBatches(DURATIONS_S, batching=BucketedBatches(max_batch_s=30), seed=0)
    dealt = DealtBatches(whole, DURATIONS_S, rank=0, world=2)
    ahead = list(islice(dealt, 5))
    assert [len(rows) / len(batch) for rows, batch in zip(ahead, islice(whole, 5), strict=True)] == list(dealt.shares)
