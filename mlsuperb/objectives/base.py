"""What every objective offers: a loss to train on, posteriors to decode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from mlsuperb.types import AttentionDecoder, Encoded, Loss, Taps, TaskFacts

Rate = Annotated[float, Field(ge=0, lt=1)]


class Objective(nn.Module, ABC):
    """The output layer and its loss.

    Attributes:
        specials: tokens that a vocabulary holds for this objective: all but the last stand first, the last one last.
        utterance_level: whether there is one label per utterance, not a sequence.
        has_attention: whether `attention` gives a decoder.
        rates: error rates to validate by: of each NAME, `Loss.counts` has `num_NAME_errors` and `num_NAME_tokens`, and
            `valid_NAME_error_rate` is their quotient.
    """

    specials: ClassVar[tuple[str, ...]]
    utterance_level: ClassVar[bool]
    has_attention: ClassVar[bool] = False
    rates: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(
        self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor, languages: Sequence[str] = ()
    ) -> Loss:
        """The loss of a batch; `targets_BS` are token indices, of which `target_lengths_B` are valid; `languages`: of the B
        utterances."""

    @abstractmethod
    def log_probs(self, encoded: Encoded) -> Encoded:
        """Log posteriors (B, F, V) in fp32, and their lengths."""

    def attention(self, encoded: Encoded) -> AttentionDecoder | None:
        """The attention decoder, which attends to `encoded`, for decoders that search with it; None: there is none."""
        return None

    def taps(self) -> Taps | None:
        """What is called behind blocks of the head while it encodes; None: nothing."""
        return None

    def begin(self, languages: Collection[str]) -> None:
        """Called before a training, with the languages of its data."""

    def curves(self) -> Mapping[str, float]:
        """Further figures to plot over the training, by GROUP/NAME (`dro_weights/deu`); the history keeps them."""
        return {}

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], *, head: Mapping[str, Any], task: TaskFacts) -> Sequence[str]:
        """Why it does not go together with the settings of a head and with a task, one sentence each."""
        return []
