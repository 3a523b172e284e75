"""Which frames a model has to predict: spans, drawn anew for each batch. Letters: B batch, F frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt


@dataclass(kw_only=True)
class SpanMasking:
    """Spans of one length that may overlap (fairseq, `compute_mask_indices`; HuBERT and mHuBERT-147 have these defaults).

    Of an utterance of F frames int(probability * F / length + u) spans begin at different frames, u from [0, 1); then every
    utterance of a batch is thinned out to as many masked frames as the one that has the fewest.

    Args:
        probability: share of frames that would be masked if spans did not overlap; about 55 % are, since they do.
        length: frames of a span.
        min_spans: in each utterance.
    """

    probability: Annotated[float, Field(gt=0, le=1)] = 0.8
    length: PositiveInt = 10
    min_spans: NonNegativeInt = 2

    def draw(self, frames_B: Sequence[int], *, rng: np.random.Generator) -> np.ndarray:
        """(B, F) bool, true where a frame is masked; F is the largest of `frames_B`, the valid frames of each utterance."""
        rows = [self._row(num, rng) for num in frames_B]
        fewest = min(len(row) for row in rows)
        mask_BF = np.zeros((len(rows), max(frames_B)), bool)
        for at, row in enumerate(rows):
            mask_BF[at, row if len(row) == fewest else rng.choice(row, fewest, replace=False)] = True
        return mask_BF

    def _row(self, num: int, rng: np.random.Generator) -> np.ndarray:
        """The masked frames of an utterance of `num`, in order."""
        spans = max(self.min_spans, int(self.probability * num / self.length + rng.random()))
        spans = max(1, min(spans, num - 1))  # at least one frame is left to see
        length = min(self.length, max(1, num - spans - 1))
        starts = rng.choice(max(1, num - length), min(spans, max(1, num - length)), replace=False)
        covered = np.unique(starts[:, None] + np.arange(self.length))
        return covered[covered < num]
