"""CTC prefix search, label by label: the decoding behind ML-SUPERB's numbers.

Letters: B utterances, K hypotheses of each, F frames, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from mlsuperb.decoding.base import Decoded
from mlsuperb.decoding.beam import Beam, ByRow, Candidates, Chosen, search
from mlsuperb.decoding.ctc_prefix import Posteriors, Prefixes
from mlsuperb.types import AttentionDecoder

CHUNK_ELEMENTS = 2**24  # posteriors that are held in fp64 at once: 128 MiB


class PrefixBeam:
    """Beam search over prefixes, each scored by the probability of all outputs that begin with it.

    Finds what ESPnet's `BatchBeamSearch` finds with `CTCPrefixScorer` alone: ctc_weight 1, no language model, no length
    bonus, no pre-beam, at most as many tokens as frames, its end detection. `beam_size=1` is ML-SUPERB's
    (`conf/decode_asr.yaml`), which is not the same as `Greedy`. `scripts/parity_espnet.py` checks it. Where ESPnet
    leaves an `<sos/eos>` in the text, because the search ended by itself at its last step, here there is none.

    All utterances and hypotheses advance together; an utterance that has ended leaves the batch.

    Args:
        beam_size: hypotheses kept at each step.
    """

    utterance_level: ClassVar[bool] = False
    needs_attention: ClassVar[bool] = False

    def __init__(self, *, beam_size: PositiveInt = 1) -> None:
        self.beam_size = beam_size

    def __call__(
        self, log_probs_BFV: Tensor, lengths_B: Tensor, attention: AttentionDecoder | None = None
    ) -> list[Decoded]:
        if log_probs_BFV.device.type == "mps":  # has no fp64
            log_probs_BFV, lengths_B = log_probs_BFV.cpu(), lengths_B.cpu()
        decoded: dict[int, Decoded] = {}
        chunk_size = max(1, CHUNK_ELEMENTS // max(1, log_probs_BFV[0].numel()))
        for rows_B in lengths_B.argsort(stable=True).split(chunk_size):  # like lengths together
            frames_B = lengths_B[rows_B]
            posteriors = Posteriors.of(log_probs_BFV[rows_B, : int(frames_B.max())], frames_B)
            scorer = _Prefix(posteriors=posteriors, prefixes=Prefixes.empty(posteriors, num=self.beam_size))
            none_B = torch.zeros_like(frames_B)
            decoded |= search(
                scorer, Beam.start(rows_B, num=self.beam_size, fewest_B=none_B, most_B=frames_B, detects_end=True)
            )
        return [decoded[row] for row in range(len(decoded))]


@dataclass(frozen=True, kw_only=True)
class _Prefix(ByRow):
    """A hypothesis's score is the probability of its prefix."""

    posteriors: Posteriors
    prefixes: Prefixes

    def candidates(self) -> Candidates:
        """All tokens."""
        return Candidates(scores_BKC=self.prefixes.extension_scores(self.posteriors), end=self.posteriors.end)

    def extend(self, chosen: Chosen) -> _Prefix:
        """The chosen extensions."""
        prefixes = self.prefixes.extend(self.posteriors, parents_BK=chosen.parents_BK, tokens_BK=chosen.tokens_BK)
        return replace(self, prefixes=prefixes)
