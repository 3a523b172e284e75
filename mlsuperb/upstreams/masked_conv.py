"""The first convolution of the group-norm models (HuBERT-base and its kin), deaf to padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from mlsuperb.upstreams.padding import masked_channel_norm


class MaskedFirstConv(GradientCheckpointingLayer):
    """wav2vec 2.0's first convolution with group norm, its statistics taken over the valid frames only.

    transformers takes them over the padded length, so features change with the batch (relative error 0.4 for 2 s beside
    5 s). Shares the original layer's modules, so parameter names stay the same; equal to it on unpadded input.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.conv: nn.Conv1d = layer.conv  # type: ignore[assignment]
        self.layer_norm: nn.GroupNorm = layer.layer_norm  # type: ignore[assignment]
        self.activation: nn.Module = layer.activation  # type: ignore[assignment]
        self.num_samples_B: Tensor | None = None  # valid samples of the batch at hand; set before the model is called

    def __call__(self, wave_B1T: Tensor) -> Tensor:
        # The lengths become an argument here, outside gradient checkpointing, so that recomputation sees the same ones.
        return super().__call__(wave_B1T, self.num_samples_B)

    def forward(self, wave_B1T: Tensor, num_samples_B: Tensor) -> Tensor:
        frames_B = torch.div(num_samples_B - self.conv.kernel_size[0], self.conv.stride[0], rounding_mode="floor") + 1
        return self.activation(masked_channel_norm(self.conv(wave_B1T), frames_B, self.layer_norm))
