"""The first convolution of the group-norm models (HuBERT-base and others), independent of padding and fast.

Letters: B batch, T samples, F frames, C channels, K samples under the kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from mlsuperb.layers.masks import valid_mask


class MaskedFirstConv(GradientCheckpointingLayer):
    """wav2vec 2.0's first convolution with group norm, its statistics taken over the valid frames only.

    transformers takes them over the padded length, so features change with the batch (relative error 0.4 for 2 s beside
    5 s). Shares the original layer's modules, so parameter names stay the same; equal to it on unpadded input.

    The convolution reads one channel, so the mean and variance of each of its outputs follow from those of the K samples
    under it (w' cov w). The norm then is a factor on its weights, and one product gives normalised channels: the largest
    tensor of the model is written once, where convolving and then normalising goes over it six times.
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
        (kernel,), (stride,) = self.conv.kernel_size, self.conv.stride
        frames_B = torch.div(num_samples_B - kernel, stride, rounding_mode="floor") + 1
        with torch.autocast(wave_B1T.device.type, enabled=False):
            windows_BFK, covariance_BKK = centred_windows(wave_B1T[:, 0].unfold(1, kernel, stride), frames_B)
            weight_CK = self.conv.weight[:, 0].double()
            variance_BC = ((weight_CK @ covariance_BKK) * weight_CK).sum(-1)
            scale_BC1 = (torch.rsqrt(variance_BC + self.layer_norm.eps) * self.layer_norm.weight)[..., None]
            scaled_BCK, shift_C1 = (scale_BC1 * weight_CK).to(self.conv.weight.dtype), self.layer_norm.bias[:, None]
            if self.conv.bias is not None:  # the norm takes it out again: it has a gradient, and that is zero
                shift_C1 = shift_C1 + 0 * self.conv.bias[:, None]
            windows_BKF = windows_BFK.to(scaled_BCK.dtype).transpose(1, 2)
        return self.activation(torch.baddbmm(shift_C1, scaled_BCK, windows_BKF))


def centred_windows(windows_BFK: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
    """`windows_BFK` less their mean over the valid frames, zero beyond, and their covariance (B, K, K). In fp64: neighbouring
    samples are so alike that a filter's output can be a millionth of what it reads, and K numbers a frame are few."""
    padding_BF1 = ~valid_mask(frames_B, windows_BFK.shape[1])[..., None]
    count_B11 = frames_B[:, None, None].clamp(min=1)
    values_BFK = windows_BFK.double().masked_fill(padding_BF1, 0)
    centred_BFK = (values_BFK - values_BFK.sum(1, keepdim=True) / count_B11).masked_fill(padding_BF1, 0)
    return centred_BFK, centred_BFK.transpose(1, 2) @ centred_BFK / count_B11
