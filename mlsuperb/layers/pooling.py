"""From the frames of an utterance to one vector.

Letters: B batch, F frames, H frame size, P vector size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from mlsuperb.layers.masks import valid_mask, zero_padding

PoolingName = Literal["mean", "attentive_statistics", "channel_attentive_statistics"]
ATTENTION_SIZE = 128  # of ECAPA-TDNN (arXiv 2005.07143); Okabe et al. have 64
VARIANCE_FLOOR = 1e-4  # of ESPnet's `ChnAttnStatPooling`: the root has a gradient everywhere


class Pooling(nn.Module, ABC):
    """Frames in, one vector out.

    Attributes:
        output_size: P.
    """

    output_size: int

    @abstractmethod
    def forward(self, values_BFH: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, P) from (B, F, H), of which `lengths_B` frames are valid."""


class MeanPooling(Pooling):
    """The mean over the valid frames: P = H."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, values_BFH: Tensor, lengths_B: Tensor) -> Tensor:
        return zero_padding(values_BFH, lengths_B).sum(1) / lengths_B[:, None].clamp(min=1)


class AttentiveStatistics(Pooling):
    """Mean and standard deviation of the valid frames under learned weights, one per frame (Okabe et al. 2018, arXiv 1803.10963,
    equations 3 to 6): P = 2 H. `channels`: one weight per frame and channel, from the frame and from mean and deviation of the
    utterance, as in ECAPA-TDNN (Desplanques et al. 2020, arXiv 2005.07143, section 3.1). The constants k of both, which a softmax
    over frames takes away, are left out.

    Okabe et al. and ESPnet's `ChnAttnStatPooling` have ReLU and batch normalisation where ECAPA-TDNN and this have tanh. That
    normalisation is over the padded batch and would make an utterance depend on its neighbours.
    """

    def __init__(self, input_size: int, *, channels: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.output_size = 2 * input_size
        context = 3 * input_size if channels else input_size
        self.attention = nn.Sequential(
            nn.Linear(context, ATTENTION_SIZE),
            nn.Tanh(),
            nn.Linear(ATTENTION_SIZE, input_size if channels else 1, bias=False),
        )

    def forward(self, values_BFH: Tensor, lengths_B: Tensor) -> Tensor:
        valid_BF1 = valid_mask(lengths_B, values_BFH.shape[1])[..., None]
        values_BFH = values_BFH.masked_fill(~valid_BF1, 0)
        context_BFC = values_BFH
        if self.channels:
            equal_BF1 = valid_BF1 / lengths_B[:, None, None].clamp(min=1)
            overall_BFP = weighted_statistics(values_BFH, equal_BF1)[:, None].expand(-1, values_BFH.shape[1], -1)
            context_BFC = torch.cat((values_BFH, overall_BFP), dim=-1)
        scores_BFX = self.attention(context_BFC).masked_fill(~valid_BF1, torch.finfo(values_BFH.dtype).min)
        return weighted_statistics(values_BFH, scores_BFX.softmax(1))


def weighted_statistics(values_BFH: Tensor, weights_BFX: Tensor) -> Tensor:
    """(B, 2 H) mean and standard deviation over frames under weights that add up to 1 over them; X is 1 or H."""
    mean_B1H = (weights_BFX * values_BFH).sum(1, keepdim=True)
    variance_BH = (weights_BFX * (values_BFH - mean_B1H).square()).sum(1)
    return torch.cat((mean_B1H[:, 0], variance_BH.clamp(min=VARIANCE_FLOOR).sqrt()), dim=-1)


POOLINGS: dict[PoolingName, Callable[[int], Pooling]] = {
    "mean": MeanPooling,
    "attentive_statistics": AttentiveStatistics,
    "channel_attentive_statistics": lambda size: AttentiveStatistics(size, channels=True),
}
