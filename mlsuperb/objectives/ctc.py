"""Connectionist temporal classification.

Letters: B batch, F frames, H encoded size, S target length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from mlsuperb.layers.dropout import Dropout
from mlsuperb.objectives.base import Objective, Rate
from mlsuperb.types import BLANK, Encoded, Loss


class CTC(Objective):
    """A linear output layer and the CTC loss (Graves et al. 2006), as ML-SUPERB uses it (`espnet2.asr.ctc.CTC`): summed
    over an utterance's frames and over the batch, divided by the batch size; utterances too short for their text weigh
    nothing, and are counted. The output layer runs in fp32 also under autocast. On a GPU torch's CTC loss reads both lengths on
    the host, which waits for them.

    Attributes:
        specials: first tokens of the vocabulary (the blank stands at `BLANK`), and its last one.
        utterance_level: whether there is one label per utterance.
    """

    specials: ClassVar[tuple[str, ...]] = ("<blank>", "<unk>", "<sos/eos>")
    utterance_level: ClassVar[bool] = False

    def __init__(self, *, input_size: int, vocab_size: int, dropout: Rate = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(input_size, vocab_size)

    def forward(
        self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor, languages: Sequence[str] = ()
    ) -> Loss:
        """The loss, and how many utterances have fewer frames than tokens plus the blanks between repeated ones."""
        loss_B = self.losses(encoded, targets_BS, target_lengths_B)
        unaligned_B = encoded.lengths_B < min_frames(targets_BS, target_lengths_B)
        return Loss(loss_B.sum() / len(loss_B), {"num_unaligned": unaligned_B.sum()})

    def losses(self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor) -> Tensor:
        """(B,) the loss of each utterance, summed over its frames; zero where it is too short for its text."""
        return nn.functional.ctc_loss(
            self.log_probs(encoded).values.transpose(0, 1),
            targets_BS,
            encoded.lengths_B,
            target_lengths_B,
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )

    def log_probs(self, encoded: Encoded) -> Encoded:
        """Log posteriors (B, F, V) in fp32."""
        with torch.autocast(encoded.values.device.type, enabled=False):
            logits_BFV = self.out(self.dropout(encoded.values.float()))
            return Encoded(logits_BFV.log_softmax(-1), encoded.lengths_B)


def min_frames(targets_BS: Tensor, target_lengths_B: Tensor) -> Tensor:
    """(B,) the fewest frames that can spell each target: its tokens, and a blank between two that are equal."""
    later = torch.arange(targets_BS.shape[1], device=targets_BS.device)[1:]
    repeated_BS = (targets_BS[:, 1:] == targets_BS[:, :-1]) & (later < target_lengths_B[:, None])
    return target_lengths_B + repeated_BS.sum(1)
