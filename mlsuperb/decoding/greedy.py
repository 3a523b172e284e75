"""The best symbol of every frame."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import pad

from mlsuperb.decoding.base import Decoded
from mlsuperb.masks import valid_mask
from mlsuperb.types import AttentionDecoder

BLANK = 0


class Greedy:
    """Best path: the most probable symbol of every frame, repetitions merged, blanks removed; its score is the path's
    log probability. `<sos/eos>` is left out of the choice, since CTC never learns it. Not the official decoding of
    ML-SUPERB (that is `PrefixBeam`), but the one to validate with while training."""

    utterance_level: ClassVar[bool] = False
    needs_attention: ClassVar[bool] = False

    def __call__(
        self, log_probs_BFV: Tensor, lengths_B: Tensor, attention: AttentionDecoder | None = None
    ) -> list[Decoded]:
        best_BF, tokens_BF = log_probs_BFV[..., :-1].max(-1)
        valid_BF = valid_mask(lengths_B, tokens_BF.shape[1])
        previous_BF = pad(tokens_BF, (1, 0), value=BLANK)[:, :-1]
        kept_BF = (tokens_BF != BLANK) & (tokens_BF != previous_BF) & valid_BF
        scores = best_BF.masked_fill(~valid_BF, 0).double().sum(1).tolist()
        found: list[int] = tokens_BF[kept_BF].tolist()
        ends: list[int] = kept_BF.sum(1).cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        return [Decoded(found[a:b], score) for a, b, score in zip(starts, ends, scores, strict=True)]
