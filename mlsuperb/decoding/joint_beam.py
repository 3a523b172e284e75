"""Joint CTC-attention beam search.

Letters: B utterances, K hypotheses of each, F frames, V vocabulary, C tokens that may come next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from mlsuperb.decoding.base import Decoded, Decoder
from mlsuperb.decoding.beam import Beam, ByRow, Candidates, Chosen, search
from mlsuperb.decoding.ctc_prefix import Posteriors, Prefixes
from mlsuperb.types import BLANK, AttentionDecoder, NextTokens

PRE_BEAM = 1.5  # ESPnet's `pre_beam_ratio`
CHUNK_POSTERIORS = 2**24  # held in fp64 at once: 128 MiB
CHUNK_TOKENS = 2**16  # of all hypotheses, held at once; each has 12 KiB of keys and values in 6 blocks of size 256
RETRY = 0.1  # by which ESPnet lowers `min_length_ratio` where no text of that length ended


@dataclass(kw_only=True)
class JointBeam(Decoder):
    """Beam search over texts, each scored by a CTC prefix score, an attention decoder and a bonus per token (Watanabe et al.
    2017, section III-B).

    Finds what ESPnet's `BatchBeamSearch` finds with `decoder`, `CTCPrefixScorer` and `LengthBonus`, set up as
    `espnet2.bin.asr_inference` does; `scripts/parity_espnet.py` checks it. Its peculiarities, all kept: CTC scores only the
    1.5 x `beam_size` tokens of each hypothesis that the decoder likes best, and always the end of the text; at the last
    step what is left ends without the score of ending; the end of the search is detected only where `max_length_ratio` is
    0. Not kept: an `<sos/eos>` inside a text that ended at the last step; hypotheses that CTC holds impossible
    (ESPnet gives them -1e10, and goes on); where no text of `min_length_ratio` ends, ESPnet lowers it by 0.1 at a time
    and gives up below 0.1, this search tries 0 at last.

    All utterances and hypotheses advance together; an utterance that has ended leaves the batch.

    Args:
        beam_size: hypotheses kept at each step.
        ctc_weight: of the CTC score; the decoder's has the rest. At 1 no decoder is asked and every token is scored, at 0
            CTC is not.
        length_bonus: added for each token, the end included (ESPnet's `penalty`).
        max_length_ratio: most tokens as a share of the frames, at least one; 0: as many as frames.
        min_length_ratio: fewest tokens as a share of the frames.
    """

    needs_attention = True

    beam_size: PositiveInt = 20
    ctc_weight: Annotated[float, Field(ge=0, le=1)] = 0.3
    length_bonus: float = 0.0
    max_length_ratio: Annotated[float, Field(ge=0)] = 0.0
    min_length_ratio: Annotated[float, Field(ge=0)] = 0.0

    @classmethod
    def problems(cls, *, max_length_ratio: float, min_length_ratio: float, **_: object) -> list[str]:
        """Lengths that do not go together: the search would fail, and be repeated, at one ratio after the other."""
        most = max_length_ratio or 1.0
        if min_length_ratio < most:
            return []
        return [
            f"decoding.min_length_ratio is {min_length_ratio}, but a text has at most {most} times as many tokens as frames: "
            "lower it, or raise decoding.max_length_ratio."
        ]

    def __call__(
        self, log_probs_BFV: Tensor, lengths_B: Tensor, attention: AttentionDecoder | None = None
    ) -> list[Decoded]:
        assert attention is not None or self.ctc_weight == 1, "settings see to it that the objective has a decoder"
        if log_probs_BFV.device.type == "mps":  # has no fp64; the attention decoder stays where it is
            log_probs_BFV, lengths_B = log_probs_BFV.cpu(), lengths_B.cpu()
        num_frames, vocab_size = log_probs_BFV.shape[1:]
        chunk_size = CHUNK_POSTERIORS // max(1, vocab_size * num_frames)
        if self.ctc_weight < 1:
            chunk_size = min(chunk_size, CHUNK_TOKENS // self.beam_size // max(1, num_frames))
        decoded: dict[int, Decoded] = {}
        for rows_B in lengths_B.argsort(stable=True).split(max(1, chunk_size)):  # like lengths together
            decoded |= self._search(log_probs_BFV, lengths_B, attention, rows_B, least=self.min_length_ratio)
        return [decoded[row] for row in range(len(decoded))]

    def _search(
        self,
        log_probs_BFV: Tensor,
        lengths_B: Tensor,
        attention: AttentionDecoder | None,
        rows_B: Tensor,
        *,
        least: float,
    ) -> dict[int, Decoded]:
        frames_B = lengths_B[rows_B]
        most_B = (
            frames_B if self.max_length_ratio == 0 else (self.max_length_ratio * frames_B.double()).long().clamp(min=1)
        )
        beam = Beam.start(
            rows_B,
            num=self.beam_size,
            fewest_B=(least * frames_B.double()).long(),
            most_B=most_B.masked_fill(frames_B == 0, 0),
            detects_end=self.max_length_ratio == 0,
        )
        posteriors = Posteriors.of(log_probs_BFV[rows_B, : int(frames_B.max())], frames_B)
        scorer = _Joint(
            settings=self,
            posteriors=posteriors,
            prefixes=Prefixes.empty(posteriors, num=self.beam_size) if self.ctc_weight > 0 else None,
            next_tokens=attention.start(rows_B, num=self.beam_size) if attention and self.ctc_weight < 1 else None,
            attention_BK=torch.zeros((len(rows_B), self.beam_size), dtype=torch.double, device=rows_B.device),
        )
        decoded = search(scorer, beam)
        if least and (failed := [row for row, one in decoded.items() if one.score == -torch.inf]):
            again_B = torch.tensor(failed, device=rows_B.device)
            decoded |= self._search(log_probs_BFV, lengths_B, attention, again_B, least=max(0.0, least - RETRY))
        return {row: replace(one, tokens=[t for t in one.tokens if t != BLANK]) for row, one in decoded.items()}


@dataclass(frozen=True, kw_only=True)
class _Joint(ByRow):
    """A hypothesis's score: `ctc_weight` times the probability of its prefix, and `attention_BK`, the weighted log
    probabilities that the decoder gave its tokens, and their bonuses. `prefixes` and `next_tokens` are None where they
    have no weight."""

    settings: JointBeam
    posteriors: Posteriors
    prefixes: Prefixes | None
    next_tokens: NextTokens | None
    attention_BK: Tensor

    def candidates(self) -> Candidates:
        """All tokens, or of each hypothesis those that the decoder likes best, and the end of the text."""
        liked_BKV, end = self._liked(), self.posteriors.end
        num_liked = int(PRE_BEAM * self.settings.beam_size)
        if self.prefixes is None or self.next_tokens is None or num_liked > end:
            return Candidates(scores_BKC=self._with_ctc(liked_BKV, None), end=end)
        tokens_BKC = torch.nn.functional.pad(liked_BKV.topk(num_liked).indices, (0, 1), value=end)
        scores_BKC = self._with_ctc(liked_BKV.gather(-1, tokens_BKC), tokens_BKC)
        scores_BKC[..., :-1].masked_fill_(tokens_BKC[..., :-1] == end, -torch.inf)  # it is there already
        return Candidates(scores_BKC=scores_BKC, end=end, tokens_BKC=tokens_BKC)

    def extend(self, chosen: Chosen) -> _Joint:
        """The chosen extensions."""
        steps = {"parents_BK": chosen.parents_BK, "tokens_BK": chosen.tokens_BK}
        rows_B1 = torch.arange(len(chosen.tokens_BK), device=chosen.tokens_BK.device)[:, None]
        added_BK = self._liked()[rows_B1, chosen.parents_BK, chosen.tokens_BK]
        return replace(
            self,
            prefixes=self.prefixes and self.prefixes.extend(self.posteriors, **steps),
            next_tokens=self.next_tokens and self.next_tokens.extend(**steps),
            attention_BK=self.attention_BK.gather(1, chosen.parents_BK) + added_BK,
        )

    def _liked(self) -> Tensor:
        """(B, K, V) what the decoder adds to a score, with the bonus."""
        bonus = self.settings.length_bonus
        if self.next_tokens is None:
            return torch.full((), bonus, device=self.attention_BK.device).expand(
                *self.attention_BK.shape, self.posteriors.end + 1
            )
        log_probs_BKV = self.next_tokens.log_probs_BKV.to(self.attention_BK.device)
        return (1 - self.settings.ctc_weight) * log_probs_BKV + bonus

    def _with_ctc(self, liked_BKC: Tensor, tokens_BKC: Tensor | None) -> Tensor:
        scores_BKC = self.attention_BK[..., None] + liked_BKC
        if self.prefixes is None:
            return scores_BKC
        return scores_BKC + self.settings.ctc_weight * self.prefixes.extension_scores(
            self.posteriors, tokens_BKC=tokens_BKC
        )
