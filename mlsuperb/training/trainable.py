"""What the loop knows of a batch and of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from mlsuperb.types import Loss


class Batch(Protocol):
    """A batch, or what this process computes of one that is dealt out among several.

    Attributes:
        ids: names of its examples, for messages.
        share: how much of the whole batch this is, by examples: 1 in one process; 0 for a process that has none of them and
            takes part because all must.
        amount: what the speed of a training is counted in: seconds of audio, tokens.
    """

    @property
    def ids(self) -> tuple[str, ...]: ...

    @property
    def share(self) -> float: ...

    @property
    def amount(self) -> float: ...

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on `device`."""
        ...

    def describe(self) -> str:
        """Its size, for errors of memory."""
        ...


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to do where a training cannot go on, in the names of the job's own settings.

    Args:
        memory: where the memory is too small.
        gradients: where something that is to be trained gets no gradient; the end of a sentence.
        parameters: where more is trained than `trainer.max_trainable_params` allows.
    """

    memory: str = "Make batches smaller, raising trainer.accumulate in turn, or set trainer.precision=bf16 on a GPU"
    gradients: str = "do not train them"
    parameters: str = "Train less, or set trainer.max_trainable_params=null"


class Trainable(nn.Module, ABC):
    """A model that `Trainer.fit` can train.

    Attributes:
        turns: at every update each takes its turn on the same batches, with an optimiser and a schedule of its own:
            `("discriminator", "generator")`. One without a name is the ordinary training.
        uneven: whether batches of one update use different parameters (speech and text in turn), so that gradients are averaged
            over ranks after each of them, and not after the last one alone.
        methods: names of methods besides `forward` that compute with the parameters: they are called between updates.
        advice: the model's part of error messages.
    """

    turns: ClassVar[tuple[str, ...]] = ("",)
    uneven: ClassVar[bool] = False
    methods: ClassVar[tuple[str, ...]] = ()
    advice: ClassVar[Advice] = Advice()

    @abstractmethod
    def forward(self, batch: Any, turn: str = "") -> Loss:
        """The loss of a batch that is minimised in a turn."""

    def trained(self, turn: str = "") -> Iterable[tuple[str, nn.Parameter]]:
        """Names and parameters that a turn moves: all that require a gradient."""
        return ((name, one) for name, one in self.named_parameters() if one.requires_grad)

    def curves(self) -> Mapping[str, float]:
        """What else trackers draw after each validation, by name: learned weights of layers. All ranks call it."""
        return {}

    def kept_curves(self) -> Mapping[str, float]:
        """Those of `curves` that the history keeps, too, for the report. All ranks call it."""
        return {}

    def blocks(self) -> Iterable[nn.Module]:
        """The repeated modules, each called by its `forward`, that `trainer.parallel=fsdp` shards and `trainer.compile=true`
        compiles one by one."""
        return ()


def compile_blocks(blocks: Iterable[nn.Module]) -> None:
    """Have `torch.compile` make faster code of each block when it is first called, shapes left open. Blocks stay where they are
    and parameters keep their names.

    Raises:
        ValueError: there are no blocks.
    """
    if not (found := list(blocks)):
        raise ValueError(
            "trainer.compile=true compiles Transformer blocks, and this model has none: set trainer.compile=false"
        )
    for block in found:
        block.compile(dynamic=True)
