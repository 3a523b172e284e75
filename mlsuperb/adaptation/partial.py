"""Fine-tuning of some Transformer blocks."""

from __future__ import annotations

from collections.abc import Collection

from mlsuperb.adaptation.base import BlockAdaptation
from mlsuperb.adaptation.full import inside
from mlsuperb.adaptation.layers import Layers
from mlsuperb.upstreams.base import Anatomy, Upstream


class Partial(BlockAdaptation):
    """Some Transformer blocks are trained. The final layer norm of a pre-norm encoder belongs to no block and stays as it
    is, so that the same blocks mean the same parameters in every model.

    Args:
        layers: which; see `mlsuperb.adaptation.layers`.
        convolutions: train what stands before the blocks, too (`Anatomy.front`: convolutions, projection, positions).
        gradient_checkpointing: see `BlockAdaptation`.
    """

    label = "Partial fine-tuning"

    def __init__(self, *, layers: Layers, convolutions: bool = False, gradient_checkpointing: bool = False) -> None:
        super().__init__(layers=layers, gradient_checkpointing=gradient_checkpointing)
        self.convolutions = convolutions

    def change(self, upstream: Upstream, anatomy: Anatomy, chosen: list[int]) -> Collection[str]:
        modules = [f"{anatomy.blocks}.{block}" for block in chosen]
        modules += anatomy.front if self.convolutions else ()
        return [name for name, _ in upstream.named_parameters() if inside(name, modules)]
