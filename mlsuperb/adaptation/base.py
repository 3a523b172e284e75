"""What every adaptation offers: it decides what of a model is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from mlsuperb.adaptation.inplace import Checkpointed, change_class
from mlsuperb.adaptation.layers import Layers, choose_blocks, depth_problems, layers_problems
from mlsuperb.upstreams.base import ENCODER, Stack, Stacked

NO_BLOCKS = (
    "{label} works on Transformer blocks, but this upstream{which} has none. Choose another upstream, or "
    "adaptation=frozen."
)


class Adaptation(ABC):
    """A transformation of a model: an upstream, or a larger one whose stacks of Transformer blocks have names.

    Attributes:
        adds_modules: whether it leaves modules of its own in the model, for which transformers' model has no place.
    """

    adds_modules: ClassVar[bool] = False

    @abstractmethod
    def apply(self, model: Stacked) -> list[str]:
        """Changes `model` in place, sets `requires_grad` of all its parameters, and returns the names (as in
        `model.named_parameters()`) of those that are trained."""

    def export(self, model: Stacked, folder: Path) -> None:  # noqa: B027  (most have nothing to add)
        """Writes into the run's folder what other programs can read of a finished training, besides the weights."""


@dataclass(kw_only=True)
class BlockAdaptation(Adaptation):
    """An adaptation that works on the Transformer blocks of one stack of a model.

    Args:
        layers: the blocks it works on; see `mlsuperb.adaptation.layers`.
        gradient_checkpointing: forget what is inside the blocks, and inside the front's convolutions, in the forward pass
            and compute it again in the backward pass: less memory, about a third more time.
        stack: name of the stack.

    Raises:
        ValueError: settings that cannot be.
    """

    label: ClassVar[str]
    not_science: ClassVar = ("gradient_checkpointing",)

    layers: Layers = None
    gradient_checkpointing: bool = False
    stack: str = ENCODER

    def __post_init__(self) -> None:
        if found := self.problems(**vars(self)):
            raise ValueError(" ".join(found))

    @classmethod
    def problems(cls, *, layers: Layers = None, **_: Any) -> list[str]:
        """What can be seen without a model."""
        return layers_problems(layers)

    @classmethod
    def depth_problems(cls, depth: int, *, layers: Layers = None, **_: Any) -> list[str]:
        """What can be seen once the number of the upstream's blocks is known, before any weight is read."""
        return depth_problems(layers, depth) if depth else [NO_BLOCKS.format(label=cls.label, which="")]

    def apply(self, model: Stacked) -> list[str]:
        """Changes the chosen blocks; see `Adaptation.apply`.

        Raises:
            ValueError: the model has no such stack, or too few blocks in it, or refuses this adaptation.
        """
        stack = self.find(model)
        chosen = choose_blocks(self.layers, list(model.get_submodule(stack.blocks).children()))
        model.requires_grad_(False)
        trained = train_only(model, self.change(model, stack, chosen))
        if self.gradient_checkpointing:
            for part in _recomputed(model, stack):
                change_class(part, Checkpointed)
        return trained

    def find(self, model: Stacked) -> Stack:
        """The stack of `model` that this adaptation works on.

        Raises:
            ValueError: there is none of that name.
        """
        if not model.stacks:
            raise ValueError(NO_BLOCKS.format(label=self.label, which=f" ({type(model).__name__})"))
        if self.stack not in model.stacks:
            raise ValueError(
                f"{self.label} is to work on the stack '{self.stack}', but this model ({type(model).__name__}) has only "
                f"{', '.join(model.stacks)}. Give one of these."
            )
        return model.stacks[self.stack]

    @abstractmethod
    def change(self, model: Stacked, stack: Stack, chosen: list[int]) -> Collection[str]:
        """Changes the blocks `chosen` (from 0) of `stack` and returns the names of the parameters to train."""

    def refuse(self, stack: Stack, place: str, remedy: str) -> None:
        """
        Raises:
            ValueError: this stack says that nothing can be done at `place`.
        """
        if reason := stack.refused.get(place):
            raise ValueError(f"{self.label} would have no effect here or fail: {reason}. {remedy}")


def train_only(model: nn.Module, trained: Collection[str]) -> list[str]:
    """Sets `requires_grad` of every parameter of `model`, and returns the names `trained` in the model's order."""
    names = set(trained)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    return [name for name, _ in model.named_parameters() if name in names]


def _recomputed(model: nn.Module, stack: Stack) -> Iterator[nn.Module]:
    """The blocks, and the layers that stand in lists in the front: HuBERT-base's convolutions hold nearly half of what a
    training of all its parameters keeps."""
    yield from model.get_submodule(stack.blocks).children()
    for name in stack.front:
        for module in model.get_submodule(name).modules():
            if isinstance(module, nn.ModuleList):
                yield from module
