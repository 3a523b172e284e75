"""How probable it is that an output of CTC begins with a prefix, for many utterances and prefixes at once, in fp64.

Watanabe et al., "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition", 2017, algorithm 2.

Letters: B utterances, K prefixes of each, F frames, T = F + 1 points in time (the first lies before the first frame),
V vocabulary, C tokens that may come next.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mlsuperb.decoding.beam import ByRow
from mlsuperb.layers.masks import valid_mask
from mlsuperb.types import BLANK

FLOOR = -1e4  # log probability of the impossible: finite, so that running sums can be subtracted; its exp is 0


@dataclass(frozen=True, kw_only=True)
class Posteriors(ByRow):
    """Posteriors as logarithms and as fp64 probabilities, impossible beyond `lengths_B` frames; the frames of a token
    stand together in memory, since that is how they are read."""

    logs_BVF: Tensor
    probs_BVF: Tensor
    lengths_B: Tensor

    @classmethod
    def of(cls, log_probs_BFV: Tensor, lengths_B: Tensor) -> Posteriors:
        """From log posteriors, of which `lengths_B` frames are valid."""
        valid_B1F = valid_mask(lengths_B, log_probs_BFV.shape[1])[:, None]
        logs_BVF = log_probs_BFV.transpose(1, 2).contiguous().clamp(min=FLOOR).masked_fill(~valid_B1F, FLOOR)
        return cls(logs_BVF=logs_BVF, probs_BVF=logs_BVF.double().exp(), lengths_B=lengths_B)

    @property
    def end(self) -> int:
        """`<sos/eos>`."""
        return self.logs_BVF.shape[1] - 1

    def of_tokens(self, tokens_BK: Tensor) -> Tensor:
        """(B, K, F) log posteriors of one token each."""
        return self.logs_BVF[_rows(tokens_BK), tokens_BK].double()


@dataclass(frozen=True, kw_only=True)
class Prefixes(ByRow):
    """Prefixes with the log probabilities of having emitted exactly them at each point in time, by paths that end in
    their last token (`label_BKT`) or in a blank (`blank_BKT`)."""

    last_BK: Tensor
    label_BKT: Tensor
    blank_BKT: Tensor

    @classmethod
    def empty(cls, posteriors: Posteriors, *, num: int) -> Prefixes:
        """`num` empty prefixes for each utterance: nothing but blanks so far. Their last token is `<sos/eos>`."""
        blanks_BF = posteriors.logs_BVF[:, BLANK].double().cumsum(1)
        blank_BT = torch.nn.functional.pad(blanks_BF, (1, 0))
        blank_BKT = blank_BT[:, None].repeat(1, num, 1)
        return cls(
            last_BK=torch.full(blank_BKT.shape[:2], posteriors.end, device=blank_BT.device),
            label_BKT=torch.full_like(blank_BKT, -torch.inf),
            blank_BKT=blank_BKT,
        )

    def extension_scores(self, posteriors: Posteriors, *, tokens_BKC: Tensor | None = None) -> Tensor:
        """(B, K, C) log probability that the output begins with each prefix and one more token, of `tokens_BKC` or of all;
        under `<sos/eos>`, that it is exactly the prefix; -inf under the blank.

        A new token may follow either kind of path, a repeated one only a blank. The best extension has at least a
        (V + 1)-th of the prefix's probability, so that none which matters is lost to underflow.
        """
        both_BKT = torch.logaddexp(self.label_BKT, self.blank_BKT)
        peak_BK1 = both_BKT.amax(-1, keepdim=True).clamp(min=torch.finfo(both_BKT.dtype).min)
        weights_BKF = (both_BKT[..., :-1] - peak_BK1).exp()
        if tokens_BKC is None:
            tokens_BKC = torch.arange(posteriors.end + 1, device=both_BKT.device)[None, None]
            inside_BKC = (posteriors.probs_BVF @ weights_BKF.transpose(1, 2)).transpose(1, 2)
        else:
            probs_BKCF = posteriors.probs_BVF[_rows(tokens_BKC), tokens_BKC]
            inside_BKC = (probs_BKCF @ weights_BKF[..., None])[..., 0]
        repeated_BK1 = (self.blank_BKT[..., :-1] + posteriors.of_tokens(self.last_BK)).logsumexp(-1, keepdim=True)
        whole_BK1 = both_BKT.gather(-1, posteriors.lengths_B[:, None, None].expand_as(peak_BK1))
        scores_BKC = torch.where(tokens_BKC == self.last_BK[..., None], repeated_BK1, inside_BKC.log() + peak_BK1)
        return torch.where(tokens_BKC == posteriors.end, whole_BK1, scores_BKC).masked_fill(
            tokens_BKC == BLANK, -torch.inf
        )

    def extend(self, posteriors: Posteriors, *, parents_BK: Tensor, tokens_BK: Tensor) -> Prefixes:
        """The prefixes at `parents_BK`, each with one more token."""
        last_BK = self.last_BK.gather(1, parents_BK)
        rows_BKT = parents_BK[..., None].expand_as(self.label_BKT)
        label_BKT, blank_BKT = self.label_BKT.gather(1, rows_BKT), self.blank_BKT.gather(1, rows_BKT)
        both_BKT = torch.logaddexp(label_BKT, blank_BKT)
        inflow_BKT = torch.where((tokens_BK == last_BK)[..., None], blank_BKT, both_BKT)
        new_label_BKT = _follow(inflow_BKT, posteriors.of_tokens(tokens_BK))
        new_blank_BKT = _follow(new_label_BKT, posteriors.logs_BVF[:, None, BLANK].double())
        return Prefixes(last_BK=tokens_BK, label_BKT=new_label_BKT, blank_BKT=new_blank_BKT)


def _follow(inflow_BKT: Tensor, logs_BKF: Tensor) -> Tensor:
    """Log of x[t] = p[t] (x[t - 1] + inflow[t - 1]) from x[0] = 0, all frames in one go: with P[t] = p[1] ... p[t],
    it is P[t] * (sum over s < t of inflow[s] / P[s])."""
    products_BKT = torch.nn.functional.pad(logs_BKF.cumsum(-1), (1, 0))
    sums_BKF = (inflow_BKT[..., :-1] - products_BKT[..., :-1]).logcumsumexp(-1)
    return torch.nn.functional.pad(products_BKT[..., 1:] + sums_BKF, (1, 0), value=-torch.inf)


def _rows(tokens_BX: Tensor) -> Tensor:
    """The number of its utterance beside each token."""
    return torch.arange(len(tokens_BX), device=tokens_BX.device).view(-1, *[1] * (tokens_BX.dim() - 1))
