"""What every objective offers: a loss to train on, posteriors to decode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from mlsuperb.types import Encoded, Loss


class Objective(nn.Module, ABC):
    """The output layer and its loss.

    Attributes:
        specials: tokens that a vocabulary holds for this objective: all but the last stand first, the last one last.
        utterance_level: whether there is one label an utterance, not a sequence.
    """

    specials: ClassVar[tuple[str, ...]]
    utterance_level: ClassVar[bool]

    @abstractmethod
    def forward(self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor) -> Loss:
        """The loss of a batch; `targets_BS` are token indices, of which `target_lengths_B` are valid."""

    @abstractmethod
    def log_probs(self, encoded: Encoded) -> Encoded:
        """Log posteriors (B, F, V) in fp32, and their lengths."""
