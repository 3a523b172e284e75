"""How features are kept: fp32 as they are, bf16, or int8 with one scale per frame.

Letters: L layers, B batch, F frames, D feature size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mlsuperb.types import Tensors

DType = Literal["fp32", "bf16", "int8"]
_TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}
_INT8_MAX = 127


@dataclass(frozen=True)
class Kept(Tensors):
    """Features as they are kept: `values` (L, F, D) of one utterance or (L, B, F, D) of several; for int8 with `scales`,
    the same shape without D, in fp32."""

    values: Tensor
    scales: Tensor | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By name, for a file."""
        return {"values": self.values} | ({} if self.scales is None else {"scales": self.scales})

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())


def encode(layers: Tensor, dtype: DType) -> Kept:
    """What is kept of layers (..., F, D). int8: each frame of a layer is divided by its largest magnitude / 127."""
    if dtype != "int8":
        return Kept(layers.to(_TORCH[dtype]))
    scales = layers.float().abs().amax(-1) / _INT8_MAX
    steps = layers.float() / scales.clamp(min=torch.finfo(torch.float32).tiny)[..., None]
    return Kept(steps.round().to(torch.int8), scales)


def decode(kept: Kept) -> Tensor:
    """The layers of what was kept: in its own dtype; of int8 in bf16, whose rounding is finer than int8's."""
    if kept.scales is None:
        return kept.values
    return kept.values.to(torch.bfloat16) * kept.scales[..., None].to(torch.bfloat16)


def empty(*, num_layers: int, num_rows: int, num_frames: int, size: int, dtype: DType, device: torch.device) -> Kept:
    """Zeros for `num_rows` utterances, to be filled."""
    shape = (num_layers, num_rows, num_frames)
    scales = torch.zeros(shape, device=device) if dtype == "int8" else None
    return Kept(torch.zeros((*shape, size), dtype=_TORCH[dtype], device=device), scales)


def bytes_per_second(*, num_layers: int, size: int, frame_rate_hz: float, dtype: DType) -> float:
    """What one second of audio takes."""
    per_frame = size * _TORCH[dtype].itemsize + (4 if dtype == "int8" else 0)
    return num_layers * per_frame * frame_rate_hz
