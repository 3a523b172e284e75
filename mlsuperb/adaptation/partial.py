"""Fine-tuning of some Transformer blocks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from mlsuperb.adaptation.base import BlockAdaptation
from mlsuperb.adaptation.layers import Layers
from mlsuperb.upstreams.base import Stack, Stacked, inside


@dataclass(kw_only=True)
class Partial(BlockAdaptation):
    """Some Transformer blocks are trained. The final layer norm of a pre-norm encoder belongs to no block and stays as it
    is, so that the same blocks mean the same parameters in every model.

    Args:
        layers: which; see `mlsuperb.adaptation.layers`.
        convolutions: train what stands before the blocks, too (`Stack.front`: convolutions, projection, positions).
        gradient_checkpointing, stack: see `BlockAdaptation`.
    """

    label = "Partial fine-tuning"

    layers: Layers = field()
    convolutions: bool = False

    def change(self, model: Stacked, stack: Stack, chosen: list[int]) -> Collection[str]:
        modules = [f"{stack.blocks}.{block}" for block in chosen]
        modules += stack.front if self.convolutions else ()
        return [name for name, _ in model.named_parameters() if inside(name, modules)]
