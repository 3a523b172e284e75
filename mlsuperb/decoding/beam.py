"""Beam search, token by token, for all hypotheses of all utterances at once: the same for every way of scoring.

Letters: B utterances, K hypotheses of each, S tokens, C tokens that may come next.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from mlsuperb.decoding.base import Decoded

# M and -D_end of eq. 50 in Watanabe et al. 2017, with the values of ESPnet's `end_detect`
END_STEPS, END_MARGIN = 3, 10.0
LEAVE_SHARE = 8  # ended utterances leave once they are an 8th of the batch: leaving copies what stays
Rows = TypeVar("Rows", bound="ByRow")
AnyScorer = TypeVar("AnyScorer", bound="Scorer")


class ByRow:
    """A dataclass whose tensors, also those inside others of its kind, all have one row per utterance."""

    def select(self: Rows, kept_B: Tensor) -> Rows:
        """The rows where `kept_B` is true."""
        kept: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                kept[field.name] = value[kept_B]
            elif hasattr(value, "select"):
                kept[field.name] = value.select(kept_B)
        return replace(self, **kept)  # type: ignore[type-var]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Log scores in fp64 of the hypotheses, each with one more token: one of `tokens_BKC`, or any (C = V) where that is
    None. The token `end` ends a text."""

    scores_BKC: Tensor
    end: int
    tokens_BKC: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Chosen(ByRow):
    """The best extensions: of which hypotheses, by which tokens."""

    parents_BK: Tensor
    tokens_BK: Tensor


class Scorer(Protocol):
    """Scores of the hypotheses of a search, of which it knows all it needs to extend them."""

    def candidates(self) -> Candidates:
        """What may come next."""
        ...

    def extend(self: AnyScorer, chosen: Chosen) -> AnyScorer:
        """The chosen extensions."""
        ...

    def select(self: AnyScorer, kept_B: Tensor) -> AnyScorer:
        """The utterances where `kept_B` is true."""
        ...


def search(scorer: Scorer, beam: Beam) -> dict[int, Decoded]:
    """The best text of every utterance of `beam`, by its number in `beam.rows_B`; -inf where none ended."""
    decoded: dict[int, Decoded] = {}
    for step in count():
        num_finished = int(beam.finished_B.sum())
        if num_finished * LEAVE_SHARE >= len(beam.finished_B):
            decoded |= beam.select(beam.finished_B).results()
            if num_finished == len(beam.finished_B):
                return decoded
            scorer, beam = scorer.select(~beam.finished_B), beam.select(~beam.finished_B)
        if step:
            scorer = scorer.extend(beam.chosen)
        beam = beam.advance(scorer.candidates(), step=step)
    raise AssertionError("count() does not end")


@dataclass(frozen=True, kw_only=True)
class Beam(ByRow):
    """The hypotheses of a batch, and the best ended one of each utterance.

    Attributes:
        rows_B: which utterance this is.
        fewest_B: a hypothesis that ends with fewer tokens is dropped.
        most_B: one with so many tokens ends, whatever comes next.
        detects_end: whether the search ends when what ends has long been hopeless (see `END_STEPS`).
        tokens_BKS: tokens so far.
        chosen: the last step.
        alive_BK: hypotheses that go on.
        best_score_B, best_tokens_BS, best_length_B: the best ended hypothesis.
        recent_BR: the best score among those that ended 0, 1, 2, ... steps ago, -inf where none did.
        finished_B: utterances whose best ended hypothesis is the result.
    """

    rows_B: Tensor
    fewest_B: Tensor
    most_B: Tensor
    detects_end: bool
    tokens_BKS: Tensor
    chosen: Chosen
    alive_BK: Tensor
    best_score_B: Tensor
    best_tokens_BS: Tensor
    best_length_B: Tensor
    recent_BR: Tensor
    finished_B: Tensor

    @classmethod
    def start(cls, rows_B: Tensor, *, num: int, fewest_B: Tensor, most_B: Tensor, detects_end: bool) -> Beam:
        """One empty hypothesis per utterance; it has ended where no token may come."""
        nothing_BK = torch.zeros((len(rows_B), num), dtype=torch.long, device=rows_B.device)
        tokens_BKS = nothing_BK[..., None].repeat(1, 1, int(most_B.max()))
        alive_BK = nothing_BK.bool()
        alive_BK[:, 0] = True
        finished_B = most_B <= 0
        impossible_B = torch.full((len(rows_B),), -torch.inf, dtype=torch.double, device=rows_B.device)
        return cls(
            rows_B=rows_B,
            fewest_B=fewest_B,
            most_B=most_B,
            detects_end=detects_end,
            tokens_BKS=tokens_BKS,
            chosen=Chosen(parents_BK=nothing_BK, tokens_BK=nothing_BK),
            alive_BK=alive_BK & ~finished_B[:, None],
            best_score_B=impossible_B.masked_fill(finished_B, 0),
            best_tokens_BS=tokens_BKS[:, 0],
            best_length_B=torch.zeros_like(rows_B),
            recent_BR=impossible_B[:, None].repeat(1, END_STEPS + 2),
            finished_B=finished_B,
        )

    def advance(self, candidates: Candidates, *, step: int) -> Beam:
        """The best extensions by one token, at the 0-based `step`."""
        scores_BKC = candidates.scores_BKC.masked_fill(~self.alive_BK[..., None], -torch.inf)
        num = scores_BKC.shape[-1]
        top_BK, index_BK = scores_BKC.flatten(1).topk(self.alive_BK.shape[1])
        parents_BK, chosen_BK = index_BK // num, index_BK % num
        if candidates.tokens_BKC is not None:
            chosen_BK = candidates.tokens_BKC.flatten(1).gather(1, index_BK)
        at_end_BK = chosen_BK == candidates.end
        no_more_BK = at_end_BK | (self.most_B == step + 1)[:, None]
        tokens_BKS = self.tokens_BKS.gather(1, parents_BK[..., None].expand_as(self.tokens_BKS))
        tokens_BKS[..., step] = chosen_BK
        extended = replace(
            self,
            tokens_BKS=tokens_BKS,
            chosen=Chosen(parents_BK=parents_BK, tokens_BK=chosen_BK),
            alive_BK=~no_more_BK & (top_BK > -torch.inf),
        )
        ends_BK = no_more_BK & (self.fewest_B <= step)[:, None]
        return extended._end(top_BK.where(ends_BK, -torch.inf), torch.where(at_end_BK, step, step + 1))

    def _end(self, ended_BK: Tensor, num_tokens_BK: Tensor) -> Beam:
        """Takes note of the hypotheses which end with scores `ended_BK` (-inf: those which do not)."""
        ended_B, place_B = ended_BK.max(1)
        better_B = ended_B > self.best_score_B
        rows_B = torch.arange(len(place_B), device=place_B.device)
        best_score_B = torch.maximum(ended_B, self.best_score_B)
        recent_BR = torch.cat([ended_B[:, None], self.recent_BR[:, :-1]], dim=1)
        finished_B = self.finished_B | ~self.alive_BK.any(1)
        if self.detects_end:
            # ESPnet counts a hypothesis's length with both its <sos/eos>, which puts the steps it looks at two back
            hopeless_BR = (recent_BR > -torch.inf) & (recent_BR - best_score_B[:, None] < -END_MARGIN)
            finished_B = finished_B | hopeless_BR[:, 2:].all(1)
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
