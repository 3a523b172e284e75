"""Fine-tuning of a whole stack: of an upstream, all of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from mlsuperb.adaptation.base import Adaptation, BlockAdaptation, train_only
from mlsuperb.upstreams.base import Stack, Stacked, inside


@dataclass(kw_only=True)
class Full(BlockAdaptation):
    """Every parameter of the stack is trained: of an upstream, every parameter.

    Args:
        convolutions: train what stands before the blocks, too (`Stack.front`: convolutions, projection, positions).
        gradient_checkpointing, stack: see `BlockAdaptation`.
    """

    label = "Full fine-tuning"

    convolutions: bool = True
    layers: None = field(default=None, init=False)

    def change(self, model: Stacked, stack: Stack, chosen: list[int]) -> Collection[str]:
        left_out = () if self.convolutions else stack.front
        names = (name for name, _ in model.named_parameters() if inside(name, (stack.whole, *stack.front)))
        return [name for name in names if not inside(name, left_out)]


@dataclass(kw_only=True)
class Everything(Adaptation):
    """Every parameter of a model of several stacks is trained: for one that begins with random weights."""

    def apply(self, model: Stacked) -> list[str]:
        """See `Adaptation.apply`."""
        return train_only(model, [name for name, _ in model.named_parameters()])
