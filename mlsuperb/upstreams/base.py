"""What every upstream offers: a wave goes in, all layers come out, with their lengths."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from mlsuperb.types import Features

SAMPLE_RATE_HZ = 16_000


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
    """

    num_layers: int
    layer_size: int
    frame_rate_hz: float
    dropout_while_frozen: bool = False

    @abstractmethod
    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> Features:
        """All layers of a batch of 16 kHz waves in [-1, 1], of which `lengths_B` samples are valid."""

    @abstractmethod
    def num_frames(self, lengths_B: Tensor) -> Tensor:
        """Valid frames for so many valid samples."""

    def record(self) -> dict[str, object]:
        """What a result should say of the weights that were really loaded (checkpoint, commit, ...)."""
        return {}
