"""The best class of an utterance."""

from __future__ import annotations

from torch import Tensor

from mlsuperb.decoding.base import Decoded, Decoder
from mlsuperb.types import AttentionDecoder


class Argmax(Decoder):
    """The most probable class of a classifier, whose posteriors have one frame: every class may win, the first and the
    last too."""

    utterance_level = True

    def __call__(
        self, log_probs_BFV: Tensor, lengths_B: Tensor, attention: AttentionDecoder | None = None
    ) -> list[Decoded]:
        best_B, classes_B = log_probs_BFV[:, 0].max(-1)
        return [Decoded([index], score) for index, score in zip(classes_B.tolist(), best_B.tolist(), strict=True)]
