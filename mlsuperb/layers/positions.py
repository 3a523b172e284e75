"""Position codes.

Letters: B batch, F frames, H encoded size, R relative positions (2F - 1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mlsuperb.layers.dropout import Dropout
from mlsuperb.layers.masks import zero_padding


class Positions(nn.Module):
    """Scales frames by sqrt(H), adds sines and cosines (Vaswani et al., arXiv 1706.03762), drops out."""

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)

    def forward(self, values_BFH: Tensor, *, first: int = 0) -> Tensor:
        """`first` is the position of the first frame."""
        num_frames, size = values_BFH.shape[1:]
        waves_FH = _waves(torch.arange(first, first + num_frames, device=values_BFH.device), size)
        dropped: Tensor = self.dropout(values_BFH * math.sqrt(size) + waves_FH)
        return dropped


class RelativePositions(nn.Module):
    """For `RelativeAttention`: frames are scaled by sqrt(H) and dropped out, nothing is added; the codes of all distances
    are dropped out, too (ESPnet's `RelPositionalEncoding`)."""

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)

    def forward(self, values_BFH: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(values_BFH * math.sqrt(values_BFH.shape[2]))
        return dropped

    def codes(self, values_BFH: Tensor) -> Tensor:
        """(R, H): the codes of the distances F - 1 (a key far to the left) down to 1 - F."""
        num_frames, size = values_BFH.shape[1:]
        dropped: Tensor = self.dropout(
            _waves(torch.arange(num_frames - 1, -num_frames, -1, device=values_BFH.device), size)
        )
        return dropped


class ConvolutionalPositions(nn.Module):
    """A grouped convolution over `kernel` frames with weight norm and a GELU, whose output takes the place of its input
    (ESPnet's `ConvolutionalPositionalEmbedding` without a residual path, arXiv 1904.11660; HuBERT's is added to its input).
    An even kernel looks one frame further back than ahead."""

    def __init__(self, size: int, *, kernel: int, groups: int) -> None:
        super().__init__()
        conv = nn.Conv1d(size, size, kernel, padding=kernel // 2, groups=groups)
        # drawn as there; in place, so that the device may be `meta`
        nn.init.normal_(conv.weight, std=math.sqrt(4 / (kernel * size)))
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.conv = nn.utils.parametrizations.weight_norm(conv, dim=2)

    def forward(self, values_BFH: Tensor, lengths_B: Tensor) -> Tensor:
        """Garbage beyond `lengths_B` frames, which are taken as zero."""
        convolved_BHF = self.conv(zero_padding(values_BFH, lengths_B).transpose(1, 2))
        return nn.functional.gelu(convolved_BHF[..., : values_BFH.shape[1]]).transpose(1, 2)


def _waves(places_F: Tensor, size: int) -> Tensor:
    """(F, H): sine at even places, cosine at odd ones."""
    rates = torch.exp(torch.arange(0, size, 2, device=places_F.device) * (-math.log(10000.0) / size))
    angles_FR = places_F[:, None] * rates
    return torch.stack([angles_FR.sin(), angles_FR.cos()], dim=-1).flatten(1)
