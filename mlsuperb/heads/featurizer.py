"""All layers of an upstream become one stream of features.

Letters: L layers, B batch, F frames, D feature size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mlsuperb.types import Features


class Featurizer(nn.Module, ABC):
    """Layers in, one stream out.

    Attributes:
        output_size: D of the stream.
    """

    output_size: int

    @property
    def weights(self) -> Tensor | None:
        """(L,) the share of each layer, adding up to 1, without gradient; None where layers have none."""
        return None

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """`feats_BFD`, zero beyond `features.lengths_B` as the layers are."""


class WeightedSum(Featurizer):
    """Sum of all layers under learnable weights: a softmax over one scalar per layer, zero at first, so that training
    starts from their mean. Layers are not normalised (ML-SUPERB's setting of s3prl's `Featurizer`)."""

    def __init__(self, *, num_layers: int, layer_size: int) -> None:
        super().__init__()
        self.output_size = layer_size
        self.logits_L = nn.Parameter(torch.zeros(num_layers))

    @property
    def weights(self) -> Tensor:
        """(L,) the share of each layer, without gradient: what a heat map shows."""
        return self.logits_L.detach().softmax(0)

    def forward(self, features: Features) -> Tensor:
        first_BFD = features.layers[0]
        if len(features.layers) == 1:
            # a softmax over one scalar is 1; kept in the graph, so that a distributed run sees every parameter used
            return first_BFD * self.logits_L.softmax(0)
        layers = features.layers
        stack_LN = (layers if isinstance(layers, Tensor) else torch.stack(layers)).flatten(1)
        with torch.autocast(stack_LN.device.type, enabled=False):
            return _weighted_sum(stack_LN, self.logits_L.softmax(0)).view(first_BFD.shape)


class WeightedSumPerDimension(Featurizer):
    """Sum of all layers under learnable weights of each feature dimension: a softmax over the layers of its own, zero logits at
    first. TalTech's language identification of the ML-SUPERB 2.0 challenge weights SeamlessM4T's layers so (arXiv 2506.01458)."""

    def __init__(self, *, num_layers: int, layer_size: int) -> None:
        super().__init__()
        self.output_size = layer_size
        self.logits_LD = nn.Parameter(torch.zeros(num_layers, layer_size))

    @property
    def weights(self) -> Tensor:
        """(L,) the share of each layer, the mean over dimensions, without gradient."""
        return self.logits_LD.detach().softmax(0).mean(1)

    def forward(self, features: Features) -> Tensor:
        with torch.autocast(features.layers[0].device.type, enabled=False):
            weights_LD = self.logits_LD.softmax(0)
            total_BFD = features.layers[0] * weights_LD[0]  # in fp32, also where layers are kept in bf16
            for layer_BFD, weights_D in zip(features.layers[1:], weights_LD[1:], strict=True):
                total_BFD = total_BFD + layer_BFD * weights_D
        return total_BFD


def _weighted_sum(stack_LN: Tensor, weights_L: Tensor) -> Tensor:
    """One product over the layer axis, no L weighted copies of the stack; in fp32, also for layers cached in bf16."""
    if stack_LN.device.type == "cpu" and stack_LN.dtype == torch.bfloat16 and not stack_LN.requires_grad:
        total_N: Tensor = _BlockwiseSum.apply(stack_LN, weights_L)
        return total_N
    return weights_L @ stack_LN.to(weights_L.dtype)


class _BlockwiseSum(torch.autograd.Function):
    """`weights_L @ stack_LN.float()` on a CPU without a copy of the stack in fp32, which takes longer to write than the sum
    to compute: a part of it that fits the cache is made at a time. The stack has no gradient."""

    BLOCK = 2**16  # 13 layers: 3.4 MB

    @staticmethod
    def forward(ctx: Any, stack_LN: Tensor, weights_L: Tensor) -> Tensor:
        ctx.save_for_backward(stack_LN)
        total_N = weights_L.new_empty(stack_LN.shape[1])
        for place, block_LN in _BlockwiseSum._blocks(stack_LN):
            torch.mv(block_LN.T, weights_L, out=total_N[place])
        return total_N

    @staticmethod
    def backward(ctx: Any, grad_N: Tensor) -> tuple[None, Tensor]:
        (stack_LN,) = ctx.saved_tensors
        grad_L = grad_N.new_zeros(len(stack_LN))
        for place, block_LN in _BlockwiseSum._blocks(stack_LN):
            grad_L.addmv_(block_LN, grad_N[place])
        return None, grad_L

    @staticmethod
    def _blocks(stack_LN: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Parts of the stack in fp32, all in the same memory: to ask the system for more takes longer than to fill it."""
        room_LN = torch.empty(len(stack_LN), _BlockwiseSum.BLOCK)
        for start in range(0, stack_LN.shape[1], _BlockwiseSum.BLOCK):
            part_LN = stack_LN[:, start : start + _BlockwiseSum.BLOCK]
            size = part_LN.shape[1]
            yield slice(start, start + size), room_LN[:, :size].copy_(part_LN)


class OneLayer(Featurizer):
    """One layer alone.

    Args:
        layer: index from 0, the first layer the upstream returns; negative ones count from the last.

    Raises:
        ValueError: the upstream has no such layer.
    """

    def __init__(self, layer: int, *, num_layers: int, layer_size: int) -> None:
        super().__init__()
        if found := self.layer_problems(num_layers, layer=layer):
            raise ValueError(found[0])
        self.output_size = layer_size
        self.layer = layer

    @classmethod
    def layer_problems(cls, num_layers: int, *, layer: int = -1) -> list[str]:
        """What can be seen once the number of the upstream's layers is known, before any weight is read."""
        if -num_layers <= layer < num_layers:
            return []
        return [
            f"featurizer.layer is {layer}, but this upstream returns {num_layers} layers: give a number from 0 to "
            f"{num_layers - 1}, or from -{num_layers} to -1 to count from the last."
        ]

    def forward(self, features: Features) -> Tensor:
        return features.layers[self.layer].float()  # as WeightedSum's, whatever the cache keeps them in


class LastLayer(OneLayer):
    """The last layer: the model's own output, final layer norm included."""

    def __init__(self, *, num_layers: int, layer_size: int) -> None:
        super().__init__(-1, num_layers=num_layers, layer_size=layer_size)
