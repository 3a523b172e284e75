"""What a comparison with ESPnet reports."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

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
