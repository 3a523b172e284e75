"""Which positions of a padded batch are real."""

from __future__ import annotations

import torch
from torch import Tensor


def valid_mask(lengths_B: Tensor, size: int) -> Tensor:
    """(B, size) bool, true where a position lies inside its utterance."""
    return torch.arange(size, device=lengths_B.device) < lengths_B[:, None]


def zero_padding(values_BFD: Tensor, lengths_B: Tensor) -> Tensor:
    """`values_BFD` with zeros beyond `lengths_B` frames."""
    return values_BFD.masked_fill(~valid_mask(lengths_B, values_BFD.shape[1])[..., None], 0)
