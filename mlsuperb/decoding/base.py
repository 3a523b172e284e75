"""What every decoder offers: posteriors go in, token sequences come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mlsuperb.types import AttentionDecoder


@dataclass(frozen=True)
class Decoded:
    """One utterance's best token indices (no blanks, no `<sos/eos>`) and their log score."""

    tokens: list[int]
    score: float


class Decoder(ABC):
    """Turns `log_probs_BFV` (log posteriors, blank at index 0, `<sos/eos>` at V - 1), of which `lengths_B` frames are
    valid, into one `Decoded` for each utterance; `attention` is the objective's attention decoder, if it has one, for those
    that search with it. Batched; what lies beyond a length never matters.

    Attributes:
        utterance_level: whether it reads posteriors of one frame, a classifier's.
        needs_attention: whether it searches with an attention decoder.
    """

    utterance_level: ClassVar[bool] = False
    needs_attention: ClassVar[bool] = False

    @abstractmethod
    def __call__(
        self, log_probs_BFV: Tensor, lengths_B: Tensor, attention: AttentionDecoder | None = None
    ) -> list[Decoded]: ...
