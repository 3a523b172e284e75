"""One label for a whole utterance.

Letters: B batch, F frames, H encoded size, V vocabulary (here: classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from mlsuperb.layers.pooling import POOLINGS, PoolingName
from mlsuperb.objectives.base import Objective
from mlsuperb.types import IGNORED, Encoded, Loss


class UtteranceClassifier(Objective):
    """One vector from the valid frames, a linear layer, cross-entropy.

    Targets are (B, 1). Those of classes that training data did not have (`IGNORED`) have no loss; the mean is over the others.

    Args:
        input_size: H, given by the head.
        vocab_size: V, given by the data.
        pooling: how the vector is made: the mean, or mean and standard deviation under learned weights, one per frame
            (`attentive_statistics`) or per frame and channel (`channel_attentive_statistics`, as ECAPA-TDNN); see
            `mlsuperb.layers.pooling`.

    Attributes:
        specials: none; the vocabulary is the classes alone.
        utterance_level: whether there is one label per utterance.
    """

    specials: ClassVar[tuple[str, ...]] = ()
    utterance_level: ClassVar[bool] = True

    def __init__(self, *, input_size: int, vocab_size: int, pooling: PoolingName = "mean") -> None:
        super().__init__()
        self.pool = POOLINGS[pooling](input_size)
        self.out = nn.Linear(self.pool.output_size, vocab_size)

    def forward(
        self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor, languages: Sequence[str] = ()
    ) -> Loss:
        """The mean cross-entropy; no utterance is too short for one label."""
        targets_B = targets_BS[:, 0]
        log_probs_BV = self.log_probs(encoded).values[:, 0]
        total = nn.functional.nll_loss(log_probs_BV, targets_B, ignore_index=IGNORED, reduction="sum")
        return Loss(total / (targets_B != IGNORED).sum().clamp(min=1))

    def log_probs(self, encoded: Encoded) -> Encoded:
        """Log posteriors (B, 1, V) in fp32: one frame per utterance."""
        with torch.autocast(encoded.values.device.type, enabled=False):
            pooled_BP = self.pool(encoded.values.float(), encoded.lengths_B)
            return Encoded(self.out(pooled_BP).log_softmax(-1)[:, None], torch.ones_like(encoded.lengths_B))
