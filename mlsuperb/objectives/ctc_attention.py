"""CTC and an attention decoder side by side.

Letters: B batch, F frames, H encoded size, S target length, T = S + 1 tokens with the `<sos/eos>`, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from mlsuperb.layers.masks import valid_mask
from mlsuperb.layers.transformer_decoder import PartialTexts, TransformerDecoder
from mlsuperb.objectives.base import Objective, Rate
from mlsuperb.objectives.ctc import CTC
from mlsuperb.types import Encoded, Loss


class CTCAttention(Objective):
    """`ctc_weight` times the CTC loss plus the rest times the label-smoothed cross-entropy of a Transformer decoder
    (Watanabe et al. 2017, eq. 29; `espnet2.asr.espnet_model.ESPnetASRModel`). Its posteriors are those of CTC.

    The defaults are those of ESPnet's `egs2/ml_superb/asr2/conf/train.yaml`; ML-SUPERB 2.0's own are not public.

    Args:
        input_size: H, given by the head.
        vocab_size: V, given by the data.
        ctc_weight: of the CTC loss. For 1 there is `objective=ctc`; at 0 there would be no CTC to decode or validate with.
        label_smoothing: probability that is spread over the wrong tokens.
        ctc_dropout: in front of the CTC output layer.
        num_blocks: of the decoder.
        num_heads: attention heads of the decoder; must divide H.
        ffn_size: hidden size of the decoder's feed-forward networks.
        dropout: after attention, inside and after the feed-forward networks.
        position_dropout: after the position codes.
        attention_dropout: on attention weights.

    Raises:
        ValueError: `num_heads` does not divide H, or H is odd.
    """

    specials: ClassVar[tuple[str, ...]] = CTC.specials
    utterance_level: ClassVar[bool] = False
    has_attention: ClassVar[bool] = True
    rates: ClassVar[tuple[str, ...]] = ("attention",)

    def __init__(
        self,
        *,
        input_size: int,
        vocab_size: int,
        ctc_weight: Annotated[float, Field(gt=0, lt=1)] = 0.3,
        label_smoothing: Rate = 0.1,
        ctc_dropout: Rate = 0.0,
        num_blocks: PositiveInt = 6,
        num_heads: PositiveInt = 4,
        ffn_size: PositiveInt = 2048,
        dropout: Rate = 0.1,
        position_dropout: Rate = 0.1,
        attention_dropout: Rate = 0.1,
    ) -> None:
        super().__init__()
        if input_size % 2:
            raise ValueError(
                f"objective=ctc_attention needs an even frame size, the head gives frames of {input_size}: positions are pairs "
                "of a sine and a cosine. Choose another head.size, or a head that projects."
            )
        if input_size % num_heads:
            raise ValueError(
                f"objective.num_heads is {num_heads}, the head gives frames of {input_size}: choose a number of heads that "
                "divides it, or another head.size."
            )
        self.ctc_weight = ctc_weight
        self.label_smoothing = label_smoothing
        self.ctc = CTC(input_size=input_size, vocab_size=vocab_size, dropout=ctc_dropout)
        self.decoder = TransformerDecoder(
            input_size,
            vocab_size=vocab_size,
            num_blocks=num_blocks,
            num_heads=num_heads,
            ffn_size=ffn_size,
            dropout=dropout,
            position_dropout=position_dropout,
            attention_dropout=attention_dropout,
        )
        self.sos_eos = vocab_size - 1

    def forward(
        self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor, languages: Sequence[str] = ()
    ) -> Loss:
        """The loss; `counts` has what CTC counts, and how many tokens of the texts, their ends included, the decoder does
        not find likeliest after those before them. An utterance too short for CTC still trains the decoder."""
        ctc = self.ctc(encoded, targets_BS, target_lengths_B)
        inputs_BT = torch.nn.functional.pad(targets_BS, (1, 0), value=self.sos_eos)
        outputs_BT = torch.nn.functional.pad(targets_BS, (0, 1)).scatter(1, target_lengths_B[:, None], self.sos_eos)
        valid_BT = valid_mask(target_lengths_B + 1, outputs_BT.shape[1])
        logits_BTV = self.decoder(inputs_BT, encoded.values, encoded.lengths_B)
        losses_BT = smoothed_cross_entropy(logits_BTV, outputs_BT, smoothing=self.label_smoothing)
        attention = losses_BT.masked_fill(~valid_BT, 0).sum() / len(outputs_BT)
        wrong_BT = (logits_BTV.argmax(-1) != outputs_BT) & valid_BT
        counts = {"num_attention_errors": wrong_BT.sum(), "num_attention_tokens": valid_BT.sum()}
        return Loss(self.ctc_weight * ctc.loss + (1 - self.ctc_weight) * attention, ctc.counts | counts)

    def log_probs(self, encoded: Encoded) -> Encoded:
        """CTC's log posteriors (B, F, V) in fp32."""
        return self.ctc.log_probs(encoded)

    def attention(self, encoded: Encoded) -> AttendingDecoder:
        """The decoder with `encoded` as its memory."""
        return AttendingDecoder(decoder=self.decoder, encoded=encoded, sos=self.sos_eos)


@dataclass(frozen=True, kw_only=True)
class AttendingDecoder:
    """A decoder and what it attends to (`mlsuperb.types.AttentionDecoder`)."""

    decoder: TransformerDecoder
    encoded: Encoded
    sos: int

    def start(self, rows_B: Tensor, *, num: int) -> PartialTexts:
        """`num` empty hypotheses of each of the utterances at `rows_B`."""
        return self.decoder.start(
            self.encoded.values[rows_B], self.encoded.lengths_B[rows_B], first_token=self.sos, num=num
        )


def smoothed_cross_entropy(logits_BTV: Tensor, targets_BT: Tensor, *, smoothing: float) -> Tensor:
    """(B, T) Kullback-Leibler divergence of the softmax from a target that gives `smoothing` in equal parts to all tokens
    but the right one (ESPnet's `LabelSmoothingLoss`; PyTorch's `label_smoothing` gives a part to the right one too)."""
    log_probs_BTV = logits_BTV.log_softmax(-1)
    right_BT = log_probs_BTV.gather(-1, targets_BT[..., None])[..., 0]
    if smoothing == 0:
        return -right_BT
    share = smoothing / (logits_BTV.shape[-1] - 1)
    entropy = -(1 - smoothing) * math.log(1 - smoothing) - smoothing * math.log(share)
    return -(1 - smoothing) * right_BT - share * (log_probs_BTV.sum(-1) - right_BT) - entropy
