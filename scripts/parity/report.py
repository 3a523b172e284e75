"""What a comparison with ESPnet reports."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Check:
    """One line of the report. `passed` None: shown, not judged."""

    name: str
    found: str
    passed: bool | None


def close(name: str, ours: Tensor, theirs: Tensor) -> Check:
    """The greatest difference."""
    if ours.shape != theirs.shape:
        return Check(name, f"shapes {tuple(ours.shape)} and {tuple(theirs.shape)}", False)
    difference = float((ours - theirs).detach().abs().max())
    return Check(name, f"max abs difference {difference:.1e}", difference <= TOLERANCE)


def relatively_close(name: str, ours: Tensor, theirs: Tensor, *, tolerance: float = TOLERANCE) -> Check:
    """The greatest difference over the greatest value: for sums of many terms, and values far from 1."""
    difference = float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())
    return Check(name, f"max relative difference {difference:.1e}", difference <= tolerance)


def same_size(name: str, ours: list[nn.Module], theirs: nn.Module) -> Check:
    """Numbers of parameters."""
    counts = [sum(one.numel() for part in side for one in part.parameters()) for side in (ours, [theirs])]
    return Check(name, f"{counts[0]:,} and {counts[1]:,}", counts[0] == counts[1])


@torch.no_grad()
def shake(model: nn.Module, *words: str, by: float) -> None:
    """Norms and the like that do something, as in trained models: noise on the parameters whose names hold one of `words`."""
    for name, parameter in model.named_parameters():
        if any(word in name for word in words):
            parameter.add_(by * torch.randn_like(parameter))
