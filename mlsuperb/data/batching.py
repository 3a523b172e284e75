"""Which utterances go into which batch. Plans depend on durations, seed and pass alone, so a run resumes anywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch.utils.data import Sampler


class Batching(Protocol):
    """Cuts a corpus into batches, once for each pass over it."""

    def plan(self, durations_s: np.ndarray, *, rng: np.random.Generator) -> list[np.ndarray]:
        """Every index into `durations_s` once, in batches, in the order of training."""
        ...


@dataclass(kw_only=True)
class SortedBatches:
    """ESPnet's `sorted` batches, as the ML-SUPERB 1.0 recipe has them: utterances sorted by length and cut into
    `num // batch_size` near-equal batches (so at least `batch_size` each), longest first in each; the batches are the
    same in every pass, their order is shuffled (`espnet2/samplers/sorted_batch_sampler.py`)."""

    batch_size: PositiveInt

    def plan(self, durations_s: np.ndarray, *, rng: np.random.Generator) -> list[np.ndarray]:
        order = np.argsort(durations_s, kind="stable")
        num_batches = max(1, len(order) // self.batch_size)
        edges = np.arange(num_batches + 1) * len(order) // num_batches
        batches = [order[start:end][::-1] for start, end in pairwise(edges)]
        return [batches[index] for index in rng.permutation(num_batches)]


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

    def plan(self, durations_s: np.ndarray, *, rng: np.random.Generator) -> list[np.ndarray]:
        noisy = durations_s * (1 + rng.uniform(0, self.jitter, size=len(durations_s)))
        batches = cut(np.argsort(noisy, kind="stable"), durations_s, self.max_batch_s, self.max_batch_size)
        return [batches[index] for index in rng.permutation(len(batches))]


def cut(order: np.ndarray, durations_s: np.ndarray, max_batch_s: float, max_batch_size: int) -> list[np.ndarray]:
    """Cut `order` into batches whose padded seconds stay within `max_batch_s`."""
    batches, start, longest_s = [], 0, 0.0
    for end, index in enumerate(order):
        longest_s = max(longest_s, float(durations_s[index]))
        size = end - start + 1
        if size > 1 and (longest_s * size > max_batch_s or size > max_batch_size):
            batches.append(order[start:end])
            start, longest_s = end, float(durations_s[index])
    if start < len(order):
        batches.append(order[start:])
    return batches


class InferenceBatches(Sampler[list[int]]):
    """Every utterance once, longest first: padding stays small and memory peaks at the start."""

    def __init__(self, durations_s: np.ndarray, *, max_batch_s: float, max_batch_size: int = 256) -> None:
        order = np.argsort(-durations_s, kind="stable")
        self.batches = [batch.tolist() for batch in cut(order, durations_s, max_batch_s, max_batch_size)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def language_repeats(durations_s: np.ndarray, languages: np.ndarray, *, temperature: float) -> np.ndarray:
    """How often each utterance is seen in a pass, so that a language's share of the audio is proportional to the
    (1 / temperature)-th power of its share in the corpus (Arivazhagan et al. 2019, arXiv 1907.05019; XLS-R's alpha, arXiv
    2111.09296, is 1 / temperature). The length of a pass stays the same: 1 leaves the corpus as it is, much more makes all
    languages equal."""
    codes = np.unique(languages.astype(str), return_inverse=True)[1]
    hours = np.bincount(codes, weights=durations_s)
    tempered = hours ** (1 / temperature)
    repeats: np.ndarray = (tempered / tempered.sum() * hours.sum() / hours)[codes]
    return repeats


def deal(batch: list[int], durations_s: np.ndarray, *, rank: int, world: int) -> tuple[list[int], float]:
    """The rows of `batch` that process `rank` of `world` computes, and the share of the batch that they are. Dealt out like
    cards, longest first, there and back, so that each has as much to do. Of a batch that is smaller than `world`, who goes
    empty-handed takes the shortest row, with share 0: every process has to take part in a step."""
    if world == 1:
        return batch, 1.0
    ordered = sorted(batch, key=lambda index: -durations_s[index])
    turns = [*range(world), *reversed(range(world))]
    mine = [index for at, index in enumerate(ordered) if turns[at % len(turns)] == rank]
    return (mine, len(mine) / len(batch)) if mine else (ordered[-1:], 0.0)


class DealtBatches(Sampler[list[int]]):
    """What one process sees of the batches of `whole`. `shares` has the shares of those that were dealt out and not taken
    from it yet, oldest first: a loader hands out rows only, in the same order, and asks for some in advance."""

    def __init__(self, whole: Sampler[list[int]], durations_s: np.ndarray, *, rank: int, world: int) -> None:
        self._whole, self._durations_s, self._rank, self._world = whole, durations_s, rank, world
        self.shares: deque[float] = deque()

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._whole:
            mine, share = deal(batch, self._durations_s, rank=self._rank, world=self._world)
            self.shares.append(share)
            yield mine


class TrainingBatches(Sampler[list[int]]):
    """Batches without end, pass after pass over the corpus.

    The plan of pass p is a function of (seed, p) alone; `start` skips that many batches, so that a resumed run goes on
    with the batch it would have seen next.

    Args:
        repeats: how often each utterance is seen in a pass, on average; once if None.
    """

    def __init__(
        self,
        durations_s: np.ndarray,
        *,
        batching: Batching,
        seed: int,
        start: int = 0,
        repeats: np.ndarray | None = None,
    ) -> None:
        if len(durations_s) == 0:
            raise ValueError("there is no utterance to train on; look at data.* filters and the skip report")
        self._durations_s, self._batching, self._seed, self._start = durations_s, batching, seed, start
        self._repeats = repeats

    def __iter__(self) -> Iterator[list[int]]:
        skip, epoch = self._start, 0
        while True:
            rng = np.random.default_rng([self._seed, epoch])
            seen = self._seen(rng)
            batches = self._batching.plan(self._durations_s[seen], rng=rng)
            yield from (seen[batch].tolist() for batch in batches[skip:])
            skip, epoch = max(0, skip - len(batches)), epoch + 1

    def _seen(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of a pass: each utterance as often as `repeats` says, its fraction being a chance."""
        if self._repeats is None:
            return np.arange(len(self._durations_s))
        whole = np.floor(self._repeats)
        chosen = rng.random(len(whole)) < self._repeats - whole
        counts = (whole + chosen).astype(int)
        return np.repeat(np.arange(len(whole)), counts) if counts.any() else np.arange(len(whole))
