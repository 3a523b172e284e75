"""Position codes.

Letters: B batch, F frames, H encoded size.
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

    def forward(self, values_BFH: Tensor) -> Tensor:
        num_frames, size = values_BFH.shape[1:]
        dropped: Tensor = self.dropout(
            values_BFH * math.sqrt(size) + _waves(num_frames, size, device=values_BFH.device)
        )
        return dropped


def _waves(num_frames: int, size: int, *, device: torch.device) -> Tensor:
    """(F, H): sine at even places, cosine at odd ones."""
    rates = torch.exp(torch.arange(0, size, 2, device=device) * (-math.log(10000.0) / size))
    angles_FR = torch.arange(num_frames, device=device)[:, None] * rates
    return torch.stack([angles_FR.sin(), angles_FR.cos()], dim=-1).flatten(1)
