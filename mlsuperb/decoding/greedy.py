"""The best symbol of every frame."""

from __future__ import annotations

import torch
from torch import Tensor

from mlsuperb.decoding.base import Decoded, Decoder
from mlsuperb.layers.masks import valid_mask
from mlsuperb.types import BLANK, AttentionDecoder


class Greedy(Decoder):
    """Best path: the most probable symbol of every frame, repetitions merged, blanks removed; its score is the path's
    log probability. `<sos/eos>` is left out of the choice, since CTC never learns it. Not the official decoding of
    ML-SUPERB (that is `PrefixBeam`), but the one to validate with while training."""

    def __call__(
        self, log_probs_BFV: Tensor, lengths_B: Tensor, attention: AttentionDecoder | None = None
    ) -> list[Decoded]:
        tokens_BF = _best_tokens(log_probs_BFV)
        best_BF = log_probs_BFV.gather(-1, tokens_BF[..., None])[..., 0]
        valid_BF = valid_mask(lengths_B, tokens_BF.shape[1])
        kept_BF = (tokens_BF != BLANK) & valid_BF
        kept_BF[:, 1:] &= tokens_BF[:, 1:] != tokens_BF[:, :-1]
        scores = best_BF.masked_fill(~valid_BF, 0).double().sum(1).tolist()
        found: list[int] = tokens_BF[kept_BF].tolist()
        ends: list[int] = kept_BF.sum(1).cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        return [Decoded(found[a:b], score) for a, b, score in zip(starts, ends, scores, strict=True)]


def _best_tokens(log_probs_BFV: Tensor) -> Tensor:
    """The most probable token of each frame, of equal ones the first; `<sos/eos>`, the last, is left out."""
    if log_probs_BFV.device.type != "cpu":
        return log_probs_BFV[..., :-1].argmax(-1)
    # numpy's argmax uses the processor's vector instructions, torch's does not: 5 x as long
    tokens_BF = torch.from_numpy(log_probs_BFV.detach().numpy().argmax(-1))
    at_end_BF = tokens_BF == log_probs_BFV.shape[-1] - 1
    tokens_BF[at_end_BF] = log_probs_BFV[at_end_BF][:, :-1].argmax(-1)
    return tokens_BF
