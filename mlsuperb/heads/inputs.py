"""The way into a head, the same for all: utterance normalisation, projection.

Letters: B batch, F frames, D feature size.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mlsuperb.layers.masks import zero_padding

InputNorm = Literal["mean", "mean_var", "none"]


class UtteranceNorm(nn.Module):
    """Each feature of an utterance gets zero mean (and unit variance) over its valid frames; zero beyond. In fp32.

    ML-SUPERB takes the mean only (ESPnet's `UtteranceMVN`, whose padding became minus the mean instead of zero up to
    202511, and is zero since 202611: PR #6571).
    """

    def __init__(self, kind: InputNorm) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> Tensor:
        feats_BFD = zero_padding(feats_BFD.float(), lengths_B)
        if self.kind == "none":
            return feats_BFD
        count_B11 = lengths_B[:, None, None].clamp(min=1)
        mean_B1D = feats_BFD.sum(1, keepdim=True) / count_B11
        centred_BFD = zero_padding(feats_BFD - mean_B1D, lengths_B)
        if self.kind == "mean":
            return centred_BFD
        variance_B1D = centred_BFD.square().sum(1, keepdim=True) / count_B11
        return centred_BFD * torch.rsqrt(variance_B1D + 1e-10)  # inside the root: a masked feature is constant


def make_projection(input_size: int, *, projection: int | None) -> tuple[nn.Module, int]:
    """Linear `input_size` -> `projection`, and the size that comes out; nothing where the size is right already
    (log-mels) or no projection is asked for."""
    if projection is None or projection == input_size:
        return nn.Identity(), input_size
    return nn.Linear(input_size, projection), projection
