"""What every adaptation offers: it decides what of an upstream is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from mlsuperb.adaptation.inplace import Checkpointed, change_class
from mlsuperb.adaptation.layers import Layers, choose_blocks, depth_problems, layers_problems
from mlsuperb.upstreams.base import Anatomy, Upstream


class Adaptation(ABC):
    """A transformation of an upstream."""

    @abstractmethod
    def apply(self, upstream: Upstream) -> list[str]:
        """Changes `upstream` in place, sets `requires_grad` of all its parameters, and returns the names (as in
        `upstream.named_parameters()`) of those that are trained."""

    def export(self, upstream: Upstream, folder: Path) -> None:  # noqa: B027  (most have nothing to add)
        """Writes into the run's folder what other programs can read of a finished training, besides the weights."""


class BlockAdaptation(Adaptation):
    """An adaptation that works on the Transformer blocks of an upstream, found through its `anatomy`.

    Args:
        layers: the blocks it works on; see `mlsuperb.adaptation.layers`.
        gradient_checkpointing: forget what is inside the blocks, and inside the front's convolutions, in the forward pass
            and compute it again in the backward pass: less memory, about a third more time.
    """

    label: ClassVar[str]
    not_science: ClassVar = ("gradient_checkpointing",)

    def __init__(self, *, layers: Layers = None, gradient_checkpointing: bool = False) -> None:
        if found := layers_problems(layers):
            raise ValueError(" ".join(found))
        self.layers = layers
        self.gradient_checkpointing = gradient_checkpointing

    @classmethod
    def problems(cls, *, layers: Layers = None, **_: Any) -> list[str]:
        """What can be seen without an upstream."""
        return layers_problems(layers)

    @classmethod
    def depth_problems(cls, depth: int, *, layers: Layers = None, **_: Any) -> list[str]:
        """What can be seen once the number of blocks is known, before any weight is read."""
        return depth_problems(layers, depth)

    def apply(self, upstream: Upstream) -> list[str]:
        """Changes the chosen blocks; see `Adaptation.apply`.

        Raises:
            ValueError: the upstream has no blocks, too few, or refuses this adaptation.
        """
        anatomy = upstream.anatomy
        if anatomy is None:
            raise ValueError(
                f"{self.label} works on Transformer blocks, but this upstream ({type(upstream).__name__}) has none. "
                "Choose another upstream, or adaptation=frozen."
            )
        chosen = choose_blocks(self.layers, upstream)
        upstream.requires_grad_(False)
        trained = set(self.change(upstream, anatomy, chosen))
        for name, parameter in upstream.named_parameters():
            parameter.requires_grad_(name in trained)
        if self.gradient_checkpointing:
            for part in _recomputed(upstream, anatomy):
                change_class(part, Checkpointed)
        return [name for name, _ in upstream.named_parameters() if name in trained]

    @abstractmethod
    def change(self, upstream: Upstream, anatomy: Anatomy, chosen: list[int]) -> Collection[str]:
        """Changes the blocks `chosen` (from 0) and returns the names of the parameters to train."""

    def refuse(self, anatomy: Anatomy, place: str, remedy: str) -> None:
        """
        Raises:
            ValueError: this upstream says that nothing can be done at `place`.
        """
        if reason := anatomy.refused.get(place):
            raise ValueError(f"{self.label} would have no effect here or fail: {reason}. {remedy}")


def _recomputed(upstream: Upstream, anatomy: Anatomy) -> Iterator[nn.Module]:
    """The blocks, and the layers that stand in lists in the front: HuBERT-base's convolutions hold nearly half of what a
    training of all its parameters keeps."""
    yield from upstream.get_submodule(anatomy.blocks).children()
    for name in anatomy.front:
        for module in upstream.get_submodule(name).modules():
            if isinstance(module, nn.ModuleList):
                yield from module
