"""Fine-tuning of the whole upstream."""

from __future__ import annotations

from collections.abc import Collection

from mlsuperb.adaptation.base import BlockAdaptation
from mlsuperb.upstreams.base import Anatomy, Upstream


def inside(name: str, modules: Collection[str]) -> bool:
    """Whether the parameter `name` belongs to one of `modules`."""
    return any(name.startswith(f"{module}.") for module in modules)


class Full(BlockAdaptation):
    """Every parameter of the upstream is trained.

    Args:
        convolutions: train what stands before the blocks, too (`Anatomy.front`: convolutions, projection, positions).
        gradient_checkpointing: see `BlockAdaptation`.
    """

    label = "Full fine-tuning"

    def __init__(self, *, convolutions: bool = True, gradient_checkpointing: bool = False) -> None:
        super().__init__(gradient_checkpointing=gradient_checkpointing)
        self.convolutions = convolutions

    def change(self, upstream: Upstream, anatomy: Anatomy, chosen: list[int]) -> Collection[str]:
        left_out = () if self.convolutions else anatomy.front
        return [name for name, _ in upstream.named_parameters() if not inside(name, left_out)]
