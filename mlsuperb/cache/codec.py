"""How features are kept: fp32 as they are, bf16, int16 in steps of each feature's own range, or int8 with one scale per frame.

Letters: L layers, B batch, F frames, D feature size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mlsuperb.types import Tensors

DType = Literal["fp32", "int16", "bf16", "int8"]
_TORCH = {"fp32": torch.float32, "int16": torch.int16, "bf16": torch.bfloat16, "int8": torch.int8}
_INT16_MAX, _INT8_MAX = 32767, 127
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Kept(Tensors):
    """Features as they are kept: `values` (L, F, D) of one utterance or (L, B, F, D) of several.

    int8 has `scales`, the same shape without D. int16 has `scales` and `offsets`, the same shape with F = 1: what one step of a
    feature is in an utterance, and what zero steps are. All are fp32.
    """

    values: Tensor
    scales: Tensor | None = None
    offsets: Tensor | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By name, for a file."""
        named = {"values": self.values, "scales": self.scales, "offsets": self.offsets}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())


def encode(layers: Tensor, dtype: DType, frames: Sequence[int] | None = None) -> Kept:
    """What is kept of layers, (L, F, D) of one utterance or (L, B, F, D) of several. int8: each frame of a layer is divided by
    its largest magnitude / 127. int16: each feature of a layer is rounded to one of 65,535 equally spaced values from least to
    greatest in the utterance, so that a constant part of it costs no precision.

    Args:
        frames: of each of several utterances; beyond them layers are zero.
    """
    if dtype == "int16":
        return _in_steps(layers.float(), frames)
    if dtype != "int8":
        return Kept(layers.to(_TORCH[dtype]))
    scales = layers.float().abs().amax(-1) / _INT8_MAX
    steps = layers.float() / scales.clamp(min=_TINY)[..., None]
    return Kept(steps.round().to(torch.int8), scales)


def _in_steps(layers: Tensor, frames: Sequence[int] | None) -> Kept:
    if frames is not None:
        kept = empty(*layers.shape, dtype="int16", device=layers.device)
        for row, length in enumerate(frames):
            for name, tensor in _in_steps(layers[:, row, :length], None).tensors.items():
                kept.tensors[name][:, row, : tensor.shape[1]] = tensor
        return kept
    low, high = torch.aminmax(layers, dim=-2, keepdim=True)
    scales, offsets = (high - low) / (2 * _INT16_MAX), low + (high - low) / 2
    steps = (layers - offsets) / scales.clamp(min=_TINY)
    return Kept(steps.round().clamp(-_INT16_MAX, _INT16_MAX).to(torch.int16), scales, offsets)


def decode(kept: Kept, frames: Sequence[int] | None = None) -> Tensor:
    """The layers of what was kept: in its own dtype; of int16 in fp32; of int8 in bf16, whose rounding is finer than int8's.

    Args:
        frames: as `encode` has them.
    """
    if kept.scales is None:
        return kept.values
    if kept.offsets is None:
        return kept.values.to(torch.bfloat16) * kept.scales[..., None].to(torch.bfloat16)
    layers = kept.values.float().mul_(kept.scales).add_(kept.offsets)
    for row, length in enumerate(frames or ()):
        layers[:, row, length:] = 0
    return layers


def empty(num_layers: int, num_rows: int, num_frames: int, size: int, *, dtype: DType, device: torch.device) -> Kept:
    """Zeros for `num_rows` utterances, to be filled."""
    shape = (num_layers, num_rows, num_frames)
    values = torch.zeros((*shape, size), dtype=_TORCH[dtype], device=device)
    if dtype == "int8":
        return Kept(values, torch.zeros(shape, device=device))
    if dtype == "int16":
        return Kept(values, *(torch.zeros((num_layers, num_rows, 1, size), device=device) for _ in range(2)))
    return Kept(values)


def bytes_per_second(*, num_layers: int, size: int, frame_rate_hz: float, dtype: DType) -> float:
    """What one second of audio takes (int16: and each utterance as much as four frames more)."""
    per_frame = size * _TORCH[dtype].itemsize + (4 if dtype == "int8" else 0)
    return num_layers * per_frame * frame_rate_hz
