"""CTC prefix search, label by label: the decoding behind ML-SUPERB's numbers.

Letters: B utterances, K hypotheses of each, S tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from mlsuperb.decoding.base import Decoded
from mlsuperb.decoding.ctc_prefix import ByRow, Posteriors, Prefixes

END_STEPS, END_MARGIN = (
    3,
    10.0,
)  # M and -D_end of eq. 50 in Watanabe et al. 2017, with the values of ESPnet's `end_detect`
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

    def __init__(self, *, beam_size: PositiveInt = 1) -> None:
        self.beam_size = beam_size

    def __call__(self, log_probs_BFV: Tensor, lengths_B: Tensor) -> list[Decoded]:
        if log_probs_BFV.device.type == "mps":  # has no fp64
            log_probs_BFV, lengths_B = log_probs_BFV.cpu(), lengths_B.cpu()
        decoded: dict[int, Decoded] = {}
        chunk_size = max(1, CHUNK_ELEMENTS // max(1, log_probs_BFV[0].numel()))
        for rows_B in lengths_B.argsort(stable=True).split(chunk_size):  # like lengths together
            longest = int(lengths_B[rows_B].max())
            decoded |= self._search(Posteriors.of(log_probs_BFV[rows_B, :longest], lengths_B[rows_B]), rows_B)
        return [decoded[row] for row in range(len(decoded))]

    def _search(self, posteriors: Posteriors, rows_B: Tensor) -> dict[int, Decoded]:
        beam = _Beam.start(posteriors, rows_B, num=self.beam_size)
        decoded: dict[int, Decoded] = {}
        step = 0
        while len(decoded) < len(rows_B):
            if step < posteriors.logs_BFV.shape[1]:
                beam = beam.advance(posteriors, step=step)
            if int(beam.finished_B.sum()) * 2 >= len(beam.finished_B):
                decoded |= beam.select(beam.finished_B).results()
                posteriors, beam = posteriors.select(~beam.finished_B), beam.select(~beam.finished_B)
            step += 1
        return decoded


@dataclass(frozen=True, kw_only=True)
class _Beam(ByRow):
    """The hypotheses of a batch, and the best ended one of each utterance.

    Attributes:
        rows_B: which utterance this is.
        tokens_BKS: tokens so far.
        alive_BK: hypotheses that go on.
        best_score_B, best_tokens_BS, best_length_B: the best ended hypothesis.
        recent_BR: the best score among those that ended 0, 1, 2, ... steps ago, -inf where none did.
        finished_B: utterances whose best ended hypothesis is the result.
    """

    rows_B: Tensor
    prefixes: Prefixes
    tokens_BKS: Tensor
    alive_BK: Tensor
    best_score_B: Tensor
    best_tokens_BS: Tensor
    best_length_B: Tensor
    recent_BR: Tensor
    finished_B: Tensor

    @classmethod
    def start(cls, posteriors: Posteriors, rows_B: Tensor, *, num: int) -> _Beam:
        """One empty hypothesis an utterance; one without frames has ended with it."""
        prefixes = Prefixes.empty(posteriors, num=num)
        tokens_BKS = torch.zeros(
            (len(rows_B), num, posteriors.logs_BFV.shape[1]), dtype=torch.long, device=rows_B.device
        )
        alive_BK = torch.zeros((len(rows_B), num), dtype=torch.bool, device=rows_B.device)
        alive_BK[:, 0] = True
        nothing_B = torch.full((len(rows_B),), -torch.inf, dtype=torch.double, device=rows_B.device)
        finished_B = posteriors.lengths_B <= 0
        return cls(
            rows_B=rows_B,
            prefixes=prefixes,
            tokens_BKS=tokens_BKS,
            alive_BK=alive_BK & ~finished_B[:, None],
            best_score_B=nothing_B.masked_fill(finished_B, 0),
            best_tokens_BS=tokens_BKS[:, 0],
            best_length_B=torch.zeros_like(rows_B),
            recent_BR=nothing_B[:, None].repeat(1, END_STEPS + 2),
            finished_B=finished_B,
        )

    def advance(self, posteriors: Posteriors, *, step: int) -> _Beam:
        """The best extensions by one token, at the 0-based `step`."""
        scores_BKV = self.prefixes.extension_scores(posteriors).masked_fill(~self.alive_BK[..., None], -torch.inf)
        vocab_size = scores_BKV.shape[-1]
        top_BK, index_BK = scores_BKV.flatten(1).topk(self.alive_BK.shape[1])
        parents_BK, chosen_BK = index_BK // vocab_size, index_BK % vocab_size
        at_end_BK = chosen_BK == vocab_size - 1
        no_more_BK = at_end_BK | (posteriors.lengths_B == step + 1)[:, None]
        tokens_BKS = self.tokens_BKS.gather(1, parents_BK[..., None].expand_as(self.tokens_BKS))
        tokens_BKS[..., step] = chosen_BK
        extended = replace(
            self,
            prefixes=self.prefixes.extend(posteriors, parents_BK=parents_BK, tokens_BK=chosen_BK),
            tokens_BKS=tokens_BKS,
            alive_BK=~no_more_BK & (top_BK > -torch.inf),
        )
        return extended._end(top_BK.where(no_more_BK, -torch.inf), torch.where(at_end_BK, step, step + 1))

    def _end(self, ended_BK: Tensor, num_tokens_BK: Tensor) -> _Beam:
        """Takes note of the hypotheses which end with scores `ended_BK` (-inf: those which do not)."""
        ended_B, place_B = ended_BK.max(1)
        better_B = ended_B > self.best_score_B
        rows_B = torch.arange(len(place_B), device=place_B.device)
        best_score_B = torch.maximum(ended_B, self.best_score_B)
        recent_BR = torch.cat([ended_B[:, None], self.recent_BR[:, :-1]], dim=1)
        # ESPnet counts a hypothesis's length with both its <sos/eos>, which puts the steps it looks at two back
        hopeless_BR = (recent_BR > -torch.inf) & (recent_BR - best_score_B[:, None] < -END_MARGIN)
        finished_B = self.finished_B | ~self.alive_BK.any(1) | hopeless_BR[:, 2:].all(1)
        return replace(
            self,
            alive_BK=self.alive_BK & ~finished_B[:, None],
            best_score_B=best_score_B,
            best_tokens_BS=torch.where(better_B[:, None], self.tokens_BKS[rows_B, place_B], self.best_tokens_BS),
            best_length_B=torch.where(better_B, num_tokens_BK[rows_B, place_B], self.best_length_B),
            recent_BR=recent_BR,
            finished_B=finished_B,
        )

    def results(self) -> dict[int, Decoded]:
        """The best ended hypothesis by utterance."""
        columns = (self.rows_B, self.best_tokens_BS, self.best_length_B, self.best_score_B)
        return {
            row: Decoded(tokens[:length], score)
            for row, tokens, length, score in zip(*(column.tolist() for column in columns), strict=True)
        }
