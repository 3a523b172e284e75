"""Which examples go into which batch. Plans depend on durations, seed and pass alone, so a run resumes anywhere.

Durations are seconds of audio; of text they are characters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch.utils.data import Sampler

from mlsuperb.data.sampling import Crops, Draw
from mlsuperb.data.windows import ShardWindows, WholePass, Window

_PIECE = 2**16  # utterances whose durations are Python numbers at a time


class Batches:
    """Batches as stretches of one order: a pass over millions of utterances has too many for an array each.

    Args:
        order: indices of utterances.
        starts: where each batch begins in `order`.
        ends: where each batch ends, its last utterance excluded.
    """

    def __init__(self, order: np.ndarray, *, starts: np.ndarray, ends: np.ndarray) -> None:
        self._order, self._starts, self._ends = order, starts, ends

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._order[self._starts[index] : self._ends[index]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.__getitem__, range(len(self)))

    def take(self, chosen: np.ndarray | slice) -> Batches:
        """The chosen batches, in that order."""
        return Batches(self._order, starts=self._starts[chosen], ends=self._ends[chosen])


class Batching(Protocol):
    """Cuts a corpus into batches, once for each pass over it."""

    def plan(self, durations_s: np.ndarray, *, rng: np.random.Generator) -> Batches:
        """Every index into `durations_s` once, in batches, in the order of training."""
        ...


@dataclass(kw_only=True)
class SortedBatches:
    """ESPnet's `sorted` batches, as the ML-SUPERB 1.0 recipe has them: utterances sorted by length and cut into
    `num // batch_size` near-equal batches (so at least `batch_size` each), longest first in each; the batches are the
    same in every pass, their order is shuffled (`espnet2/samplers/sorted_batch_sampler.py`)."""

    batch_size: PositiveInt

    def plan(self, durations_s: np.ndarray, *, rng: np.random.Generator) -> Batches:
        longest_first = np.argsort(durations_s, kind="stable")[::-1]
        num_batches = max(1, len(longest_first) // self.batch_size)
        edges = len(longest_first) - np.arange(num_batches + 1) * len(longest_first) // num_batches
        batches = Batches(longest_first, starts=edges[1:], ends=edges[:-1])
        return batches.take(rng.permutation(num_batches))


@dataclass(kw_only=True)
class BucketedBatches:
    """Batches of similar length, bounded by their padded size: longest utterance times number of utterances.

    Args:
        max_batch_s: padded seconds of audio in a batch, at most (a single longer utterance is a batch of its own).
        max_batch_size: utterances in a batch, at most.
        jitter: lengths are scaled by a random factor of up to 1 + jitter before sorting, so that batches differ from
            pass to pass.
    """

    max_batch_s: PositiveFloat
    max_batch_size: PositiveInt = 64
    jitter: NonNegativeFloat = 0.2

    def plan(self, durations_s: np.ndarray, *, rng: np.random.Generator) -> Batches:
        noisy = durations_s * (1 + rng.uniform(0, self.jitter, size=len(durations_s)))
        batches = cut(np.argsort(noisy, kind="stable"), durations_s, self.max_batch_s, self.max_batch_size)
        return batches.take(rng.permutation(len(batches)))


def cut(
    order: np.ndarray, durations_s: np.ndarray, max_batch_s: float, max_batch_size: int, min_share: float = 0.0
) -> Batches:
    """Cut `order` into batches whose padded seconds stay within `max_batch_s`, of utterances no shorter than `min_share` of
    the longest before them in theirs."""
    edges = np.fromiter(_edges(order, durations_s, max_batch_s, max_batch_size, min_share), dtype=np.int64)
    return Batches(order, starts=edges[:-1], ends=edges[1:])


def _edges(
    order: np.ndarray, durations_s: np.ndarray, max_batch_s: float, max_batch_size: int, min_share: float
) -> Iterator[int]:
    """Where batches begin, and the end of the last. Python's own numbers, a piece at a time: with numpy's this loop takes
    six times as long."""
    longest_s, size, position = 0.0, 0, 0
    yield 0
    for first in range(0, len(order), _PIECE):
        for duration_s in durations_s[order[first : first + _PIECE]].tolist():
            size += 1
            if duration_s > longest_s:
                longest_s = duration_s
            if size > 1 and (
                longest_s * size > max_batch_s or size > max_batch_size or duration_s < min_share * longest_s
            ):
                yield position
                longest_s, size = duration_s, 1
            position += 1
    if position:
        yield position


class InferenceBatches(Sampler[list[int]]):
    """Every utterance once, longest first, so that memory peaks at the start. No utterance is padded by more than a ninth:
    one shorter than 90 % of the longest of a batch begins another. That is 33 batches more at most, from 30 s down to 1 s."""

    MIN_SHARE = 0.9
    MAX_SIZE = 256

    def __init__(self, durations_s: np.ndarray, *, max_batch_s: float) -> None:
        order = np.argsort(-durations_s, kind="stable")
        self.batches = cut(order, durations_s, max_batch_s, self.MAX_SIZE, self.MIN_SHARE)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self.batches)


def deal(batch: Sequence[Draw], durations_s: np.ndarray, *, rank: int, world: int) -> tuple[list[Draw], float]:
    """The rows of `batch` that process `rank` of `world` computes, and the share of the batch that they are. Dealt out like
    cards, longest first, there and back, so that each has as much to do. Of a batch that is smaller than `world`, a process
    that gets none takes the shortest row, with share 0: every process has to take part in a step."""
    if world == 1:
        return list(batch), 1.0
    ordered = sorted(batch, key=lambda draw: -durations_s[draw.index])
    turns = [*range(world), *reversed(range(world))]
    mine = [draw for at, draw in enumerate(ordered) if turns[at % len(turns)] == rank]
    return (mine, len(mine) / len(batch)) if mine else (ordered[-1:], 0.0)


class DealtBatches(Sampler[list[Draw]]):
    """What one process computes of the batches of `whole`. `shares` has the shares of those that were dealt out and not
    taken from it yet, oldest first: a loader hands out rows only, in the same order, and asks for some in advance."""

    def __init__(self, whole: Sampler[list[Draw]], durations_s: np.ndarray, *, rank: int, world: int) -> None:
        self._whole, self._durations_s, self._rank, self._world = whole, durations_s, rank, world
        self.shares: deque[float] = deque()

    def __iter__(self) -> Iterator[list[Draw]]:
        for batch in self._whole:
            mine, share = deal(batch, self._durations_s, rank=self._rank, world=self._world)
            self.shares.append(share)
            yield mine


class TrainingBatches(Sampler[list[Draw]]):
    """Batches without end, pass after pass over the corpus.

    The plan of pass p is a function of (seed, p) alone, the crops of its batch b one of (seed, p, b); `start` skips that
    many batches, so that a resumed run goes on with the batch it would have seen next.

    Args:
        repeats: how often each utterance is seen in a pass, on average; once if None.
        crops: what is seen of each utterance; all of it if None. Batches are made up by what is seen.
        windows: of a corpus in shards, which parts of a pass are planned for themselves; None: a pass is planned as a whole.
    """

    def __init__(
        self,
        durations_s: np.ndarray,
        *,
        batching: Batching,
        seed: int,
        start: int = 0,
        repeats: np.ndarray | None = None,
        crops: Crops | None = None,
        windows: ShardWindows | None = None,
    ) -> None:
        if len(durations_s) == 0:
            raise ValueError("there is no utterance to train on; look at data.* filters and the skip report")
        self._durations_s, self._batching, self._seed, self._start = durations_s, batching, seed, start
        self._repeats, self._crops, self._windows = repeats, crops, windows
        self._seen_s = durations_s if crops is None else np.minimum(durations_s, crops.max_s)

    def __iter__(self) -> Iterator[list[Draw]]:
        skip, epoch = self._start, 0
        while True:
            rng, before = np.random.default_rng([self._seed, epoch]), 0
            for window in self._pass(rng):
                batches = self._batching.plan(self._seen_s[window.rows], rng=rng)
                if skip < len(batches):
                    window.begin()
                for number, batch in enumerate(batches.take(slice(skip, None)), before + skip):
                    yield self._draws(window.rows[batch].tolist(), epoch, number)
                skip, before = max(0, skip - len(batches)), before + len(batches)
            epoch += 1

    def _pass(self, rng: np.random.Generator) -> Iterator[Window]:
        if self._windows is None:
            yield WholePass(self._seen(rng))
        else:
            yield from (window for window in self._windows.of_pass(self._repeats, rng) if len(window.rows))

    def _draws(self, batch: list[int], epoch: int, number: int) -> list[Draw]:
        if self._crops is None:
            return [Draw(index) for index in batch]
        rng = np.random.default_rng([self._seed, epoch, number])
        return self._crops.draws(batch, self._durations_s, rng=rng)

    def _seen(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of a pass: each utterance as often as `repeats` says, its fraction being a chance."""
        if self._repeats is None:
            return np.arange(len(self._durations_s))
        whole = np.floor(self._repeats)
        chosen = rng.random(len(whole)) < self._repeats - whole
        counts = (whole + chosen).astype(int)
        return np.repeat(np.arange(len(whole)), counts) if counts.any() else np.arange(len(whole))
