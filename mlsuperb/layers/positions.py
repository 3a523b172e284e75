"""Position codes.

Letters: B batch, F frames, H encoded size, R relative positions (2F - 1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Positions(nn.Module):
    """Scales frames by sqrt(H), adds sines and cosines (Vaswani et al., arXiv 1706.03762), drops out."""

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)

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
        self.dropout = nn.Dropout(dropout)

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


def _waves(places_F: Tensor, size: int) -> Tensor:
    """(F, H): sine at even places, cosine at odd ones."""
    rates = torch.exp(torch.arange(0, size, 2, device=places_F.device) * (-math.log(10000.0) / size))
    angles_FR = places_F[:, None] * rates
    return torch.stack([angles_FR.sin(), angles_FR.cos()], dim=-1).flatten(1)
