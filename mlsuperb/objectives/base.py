"""What every objective offers: a loss to train on, posteriors to decode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from mlsuperb.types import AttentionDecoder, Encoded, Loss


class Objective(nn.Module, ABC):
    """The output layer and its loss.

    Attributes:
        specials: tokens that a vocabulary holds for this objective: all but the last stand first, the last one last.
        utterance_level: whether there is one label an utterance, not a sequence.
        has_attention: whether `attention` gives a decoder.
        rates: error rates to validate by: of each NAME, `Loss.counts` has `num_NAME_errors` and `num_NAME_tokens`, and
            `valid_NAME_error_rate` is their quotient.
    """

    specials: ClassVar[tuple[str, ...]]
    utterance_level: ClassVar[bool]
    has_attention: ClassVar[bool] = False
    rates: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor) -> Loss:
        """The loss of a batch; `targets_BS` are token indices, of which `target_lengths_B` are valid."""

    @abstractmethod
    def log_probs(self, encoded: Encoded) -> Encoded:
        """Log posteriors (B, F, V) in fp32, and their lengths."""

    def attention(self, encoded: Encoded) -> AttentionDecoder | None:
        """The attention decoder, which attends to `encoded`, for decoders that search with it; None: there is none."""
        return None
