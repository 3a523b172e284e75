"""Which utterances go into which batch. Plans depend on durations, seed and pass alone, so a run resumes anywhere."""

from __future__ import annotations

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


class TrainingBatches(Sampler[list[int]]):
    """Batches without end, pass after pass over the corpus.

    The plan of pass p is a function of (seed, p) alone; `start` skips that many batches, so that a resumed run goes on
    with the batch it would have seen next.
    """

    def __init__(self, durations_s: np.ndarray, *, batching: Batching, seed: int, start: int = 0) -> None:
        if len(durations_s) == 0:
            raise ValueError("there is no utterance to train on; look at data.* filters and the skip report")
        self._durations_s, self._batching, self._seed, self._start = durations_s, batching, seed, start

    def __iter__(self) -> Iterator[list[int]]:
        skip, epoch = self._start, 0
        while True:
            batches = self._batching.plan(self._durations_s, rng=np.random.default_rng([self._seed, epoch]))
            yield from (batch.tolist() for batch in batches[skip:])
            skip, epoch = max(0, skip - len(batches)), epoch + 1
