"""Bottleneck adapters: two linear layers with an activation between them, inside frozen blocks.

All start as the identity: the second layer is zero. Letters: D feature size.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from mlsuperb.adaptation.base import BlockAdaptation
from mlsuperb.adaptation.inplace import BesideBottleneck, WithBottleneck, change_class
from mlsuperb.upstreams.base import Stack, Stacked

Activation = Literal["relu", "gelu", "silu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class Bottleneck(nn.Module):
    """D -> width -> D; zero until the second layer is trained. 2 * D * width + width + D parameters."""

    def __init__(self, size: int, *, width: int, activation: str, device: torch.device) -> None:
        super().__init__()
        self.down = nn.Linear(size, width, device=device)
        self.activation = ACTIVATIONS[activation]()
        self.up = nn.Linear(width, size, device=device)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, values: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        changed: Tensor = self.up(self.activation(self.down(values)))
        return changed


@dataclass(kw_only=True)
class BottleneckAdaptation(BlockAdaptation):
    """What the bottleneck adapters share: only they are trained.

    Args:
        width: size of the bottleneck.
        activation: between its layers.
        layers, gradient_checkpointing, stack: see `BlockAdaptation`.
    """

    adds_modules: ClassVar[bool] = True

    width: PositiveInt
    activation: Activation

    @abstractmethod
    def places(self, stack: Stack) -> list[tuple[str, type[nn.Module]]]:
        """Modules of a block (its own name is empty) that get a bottleneck, and how it is put on each."""

    def change(self, model: Stacked, stack: Stack, chosen: list[int]) -> Collection[str]:
        return list(self._insert(model, stack, chosen))

    def _insert(self, model: Stacked, stack: Stack, chosen: list[int]) -> Iterator[str]:
        for index in chosen:
            block_name = f"{stack.blocks}.{index}"
            block: nn.Module = model.get_submodule(block_name)
            last: Any = block.get_submodule(stack.ffn)
            for place, change in self.places(stack):
                module = block.get_submodule(place)
                module.bottleneck = Bottleneck(
                    last.out_features,
                    width=self.width,
                    activation=self.activation,
                    device=next(block.parameters()).device,
                )
                change_class(module, change)
                name = ".".join(part for part in (block_name, place, "bottleneck") if part)
                yield from (f"{name}.{inner}" for inner, _ in module.bottleneck.named_parameters())


class Houlsby(BottleneckAdaptation):
    """Two adapters per block, on the outputs of attention and feed-forward network before they join the residual
    (arXiv 1902.00751). They stand before the model's dropout there; a macaron block's first feed-forward network has none."""

    label = "A Houlsby adapter"

    def places(self, stack: Stack) -> list[tuple[str, type[nn.Module]]]:
        return [(stack.attention, WithBottleneck), (stack.ffn, WithBottleneck)]


class Pfeiffer(BottleneckAdaptation):
    """One adapter at the end of each block: h + up(act(down(h))) (arXiv 2005.00247, without its layer norms)."""

    label = "A Pfeiffer adapter"

    def places(self, stack: Stack) -> list[tuple[str, type[nn.Module]]]:
        return [("", WithBottleneck)]


class ESPnetHoulsby(BottleneckAdaptation):
    """ESPnet's adapter (`espnet2/layers/houlsby_adapter_layer.py`), one per block, beside the dropout of the feed-forward
    network: x = residual + dropout(ffn) + adapter(ffn).

    Two differences: it starts as the identity, where ESPnet's second layer is random, and in an upstream whose dropout
    there is no module of its own it stands before the dropout, which changes training alone. A macaron block halves it
    with the feed-forward network's output.
    """

    label = "An ESPnet adapter"

    def places(self, stack: Stack) -> list[tuple[str, type[nn.Module]]]:
        if stack.ffn_dropout is None:
            return [(stack.ffn, WithBottleneck)]
        return [(stack.ffn_dropout, BesideBottleneck)]
