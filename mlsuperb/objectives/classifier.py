"""One label for a whole utterance.

Letters: B batch, F frames, H encoded size, V vocabulary (here: classes).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mlsuperb.layers.masks import zero_padding
from mlsuperb.objectives.base import Objective
from mlsuperb.types import Encoded, Loss

UNSEEN = -1  # the target of a class that training data did not have


class UtteranceClassifier(Objective):
    """Mean over the valid frames, a linear layer, cross-entropy.

    Targets are (B, 1). Those of `UNSEEN` classes (-1) have no loss, and the mean is over the others.

    Attributes:
        specials: none; the vocabulary is the classes alone.
        utterance_level: whether there is one label an utterance.
    """

    specials: ClassVar[tuple[str, ...]] = ()
    utterance_level: ClassVar[bool] = True

    def __init__(self, *, input_size: int, vocab_size: int) -> None:
        super().__init__()
        self.out = nn.Linear(input_size, vocab_size)

    def forward(self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor) -> Loss:
        """The mean cross-entropy; no utterance is too short for one label."""
        targets_B = targets_BS[:, 0]
        log_probs_BV = self.log_probs(encoded).values[:, 0]
        total = nn.functional.nll_loss(log_probs_BV, targets_B, ignore_index=UNSEEN, reduction="sum")
        return Loss(total / (targets_B != UNSEEN).sum().clamp(min=1))

    def log_probs(self, encoded: Encoded) -> Encoded:
        """Log posteriors (B, 1, V) in fp32: one frame an utterance."""
        with torch.autocast(encoded.values.device.type, enabled=False):
            total_BH = zero_padding(encoded.values.float(), encoded.lengths_B).sum(1)
            mean_BH = total_BH / encoded.lengths_B[:, None].clamp(min=1)
            return Encoded(self.out(mean_BH).log_softmax(-1)[:, None], torch.ones_like(encoded.lengths_B))
