"""What every upstream offers: a wave goes in, all layers come out, with their lengths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mlsuperb.types import SAMPLE_RATE_HZ as SAMPLE_RATE_HZ
from mlsuperb.types import Features


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """Where an adaptation finds the parts of an upstream: dotted names of modules (`nn.Module.get_submodule`).

    Args:
        blocks: the list of Transformer blocks, in the upstream; block i makes layer i + 1.
        front: what stands before the blocks, in the upstream: convolutions first (`front[0]`), then projections, norms,
            positions.
        attention: the self-attention, in a block: a module whose output, or its first element, is added to the residual.
        ffn: the last module of the (second) feed-forward network that computes, in a block: before its dropout.
        ffn_dropout: the dropout behind `ffn`, in a block; None where it is no module of its own.
        attention_linears: linear layers of the self-attention, in a block: for queries, keys, values and output, in this order.
        ffn_linears: linear layers of the feed-forward network(s), in a block.
        refused: what cannot be done to this model, by name of the place (`attention_linears`, `quantisation`, ...), each
            with the reason for the user.
    """

    blocks: str
    front: tuple[str, ...]
    attention: str
    ffn: str
    ffn_dropout: str | None
    attention_linears: tuple[str, ...]
    ffn_linears: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)


class Upstream(nn.Module, ABC):
    """A speech model seen as a stack of layers. Letters: B batch, T samples, F frames, D feature size.

    Contracts, tested for every family: padding never changes a result; the number of layers is the same in train and
    eval mode; the last layer is the model's own output, final layer norm included.

    Attributes:
        num_layers: how many layers `forward` returns.
        layer_size: D, the feature size of every layer.
        frame_rate_hz: frames per second.
        dropout_while_frozen: keep the model's own dropout on in training although nothing in it is trained, as the
            original ML-SUPERB recipe did.
        anatomy: where its parts are; None where there is nothing to adapt.
        cheap: whether features are computed as fast as they could be read.
    """

    num_layers: int
    layer_size: int
    frame_rate_hz: float
    dropout_while_frozen: bool = False
    anatomy: Anatomy | None = None
    cheap: bool = False

    @abstractmethod
    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> Features:
        """All layers of a batch of 16 kHz waves in [-1, 1], of which `lengths_B` samples are valid."""

    @abstractmethod
    def num_frames(self, lengths_B: Tensor) -> Tensor:
        """Valid frames for so many valid samples."""

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        """How many Transformer blocks an upstream of these settings will have, one fewer than its layers; None where only its
        weights tell."""
        return None

    def record(self) -> dict[str, object]:
        """What a result should say of the weights that were really loaded (checkpoint, commit, ...)."""
        return {}


def size_and_type(model: nn.Module) -> dict[str, object]:
    """What `record` says of a model's parameters."""
    parameters = list(model.parameters())
    return {
        "num_parameters": sum(parameter.numel() for parameter in parameters),
        "dtype": str(parameters[0].dtype).removeprefix("torch."),
    }
