"""How probable it is that an output of CTC begins with a prefix, for many utterances and prefixes at once, in fp64.

Watanabe et al., "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition", 2017, algorithm 2.

Letters: B utterances, K prefixes of each, F frames, T = F + 1 points in time (the first lies before the first frame),
V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

from mlsuperb.masks import valid_mask

BLANK = 0
FLOOR = -1e4  # log probability of the impossible: finite, so that running sums can be subtracted; its exp is 0
Rows = TypeVar("Rows", bound="ByRow")


class ByRow:
    """A dataclass of tensors which all have one row an utterance."""

    def select(self: Rows, kept_B: Tensor) -> Rows:
        """The rows where `kept_B` is true."""
        kept: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            kept[field.name] = value.select(kept_B) if isinstance(value, ByRow) else value[kept_B]
        return type(self)(**kept)


@dataclass(frozen=True, kw_only=True)
class Posteriors(ByRow):
    """Posteriors as logarithms and as fp64 probabilities, impossible beyond `lengths_B` frames."""

    logs_BFV: Tensor
    probs_BFV: Tensor
    lengths_B: Tensor

    @classmethod
    def of(cls, log_probs_BFV: Tensor, lengths_B: Tensor) -> Posteriors:
        """From log posteriors, of which `lengths_B` frames are valid."""
        valid_BF1 = valid_mask(lengths_B, log_probs_BFV.shape[1])[..., None]
        logs_BFV = log_probs_BFV.clamp(min=FLOOR).masked_fill(~valid_BF1, FLOOR)
        return cls(logs_BFV=logs_BFV, probs_BFV=logs_BFV.double().exp(), lengths_B=lengths_B)

    def of_tokens(self, tokens_BK: Tensor) -> Tensor:
        """(B, K, F) log posteriors of one token each."""
        rows_B1 = torch.arange(len(tokens_BK), device=tokens_BK.device)[:, None]
        return self.logs_BFV[rows_B1, :, tokens_BK].double()


@dataclass(frozen=True, kw_only=True)
class Prefixes(ByRow):
    """Prefixes with the log probabilities of having emitted exactly them at each point in time, by paths that end in
    their last token (`label_BKT`) or in a blank (`blank_BKT`)."""

    last_BK: Tensor
    label_BKT: Tensor
    blank_BKT: Tensor

    @classmethod
    def empty(cls, posteriors: Posteriors, *, num: int) -> Prefixes:
        """`num` empty prefixes an utterance: nothing but blanks so far. Their last token is `<sos/eos>`."""
        blanks_BF = posteriors.logs_BFV[..., BLANK].double().cumsum(1)
        blank_BT = torch.nn.functional.pad(blanks_BF, (1, 0))
        blank_BKT = blank_BT[:, None].repeat(1, num, 1)
        last = posteriors.logs_BFV.shape[-1] - 1
        return cls(
            last_BK=torch.full(blank_BKT.shape[:2], last, device=blank_BT.device),
            label_BKT=torch.full_like(blank_BKT, -torch.inf),
            blank_BKT=blank_BKT,
        )

    def extension_scores(self, posteriors: Posteriors) -> Tensor:
        """(B, K, V) log probability that the output begins with each prefix and one more token; under `<sos/eos>`, that
        it is exactly the prefix; -inf under the blank.

        A new token may follow either kind of path, a repeated one only a blank. The best extension has at least a
        (V + 1)-th of the prefix's probability, so that none which matters is lost to underflow.
        """
        both_BKT = torch.logaddexp(self.label_BKT, self.blank_BKT)
        peak_BK1 = both_BKT.amax(-1, keepdim=True).clamp(min=torch.finfo(both_BKT.dtype).min)
        scores_BKV = ((both_BKT[..., :-1] - peak_BK1).exp() @ posteriors.probs_BFV).log() + peak_BK1
        repeated_BK = (self.blank_BKT[..., :-1] + posteriors.of_tokens(self.last_BK)).logsumexp(-1)
        scores_BKV.scatter_(-1, self.last_BK[..., None], repeated_BK[..., None])
        scores_BKV[..., BLANK] = -torch.inf
        ends_BK1 = posteriors.lengths_B[:, None, None].expand(-1, both_BKT.shape[1], 1)
        scores_BKV[..., -1:] = both_BKT.gather(-1, ends_BK1)
        return scores_BKV

    def extend(self, posteriors: Posteriors, *, parents_BK: Tensor, tokens_BK: Tensor) -> Prefixes:
        """The prefixes at `parents_BK`, each with one more token."""
        last_BK = self.last_BK.gather(1, parents_BK)
        rows_BKT = parents_BK[..., None].expand_as(self.label_BKT)
        label_BKT, blank_BKT = self.label_BKT.gather(1, rows_BKT), self.blank_BKT.gather(1, rows_BKT)
        both_BKT = torch.logaddexp(label_BKT, blank_BKT)
        inflow_BKT = torch.where((tokens_BK == last_BK)[..., None], blank_BKT, both_BKT)
        new_label_BKT = _follow(inflow_BKT, posteriors.of_tokens(tokens_BK))
        new_blank_BKT = _follow(new_label_BKT, posteriors.logs_BFV[:, None, :, BLANK].double())
        return Prefixes(last_BK=tokens_BK, label_BKT=new_label_BKT, blank_BKT=new_blank_BKT)


def _follow(inflow_BKT: Tensor, logs_BKF: Tensor) -> Tensor:
    """Log of x[t] = p[t] (x[t - 1] + inflow[t - 1]) from x[0] = 0, all frames in one go: with P[t] = p[1] ... p[t],
    it is P[t] * (sum over s < t of inflow[s] / P[s])."""
    products_BKT = torch.nn.functional.pad(logs_BKF.cumsum(-1), (1, 0))
    sums_BKF = (inflow_BKT[..., :-1] - products_BKT[..., :-1]).logcumsumexp(-1)
    return torch.nn.functional.pad(products_BKT[..., 1:] + sums_BKF, (1, 0), value=-torch.inf)
