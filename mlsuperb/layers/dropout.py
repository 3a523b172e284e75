"""Dropout that does not hold up a CPU, where torch draws its masks one number at a time in one thread
(`scripts/bench/cpu_parts.py` measures both).

The bits come from numpy's SFC64, a generator of their own for each mask, which torch's seeds: runs that are resumed and blocks
that are computed again for their gradient find the same masks. On other devices, and where torch.compile traces, it is torch's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LEVELS = 2**16  # a number is dropped by 16 bits of its own: rates are rounded to 1 / LEVELS


class Dropout(nn.Dropout):
    """`nn.Dropout`, faster on a CPU."""

    def forward(self, values: Tensor) -> Tensor:
        return dropout(values, self.p) if self.training else values


def use_faster_dropout(model: nn.Module) -> None:
    """Every `nn.Dropout` in a model of another library becomes a `Dropout`."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout


def dropout(values: Tensor, rate: float) -> Tensor:
    """`values` with a share of `rate` set to zero, the others divided by the share that is left."""
    num_dropped = round(rate * LEVELS)
    if values.device.type != "cpu" or num_dropped in (0, LEVELS) or torch.compiler.is_compiling():
        return nn.functional.dropout(values, rate)
    dropped: Tensor = _Dropped.apply(values, num_dropped)
    return dropped


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """torch's. A CPU has no fused kernel for it with dropout: there the same products with masks of `dropout`, in fp32 at
    least, as torch computes them then."""
    if not dropout_p or query.device.type != "cpu" or torch.compiler.is_compiling():
        return nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attn_mask, dropout_p=dropout_p, scale=scale
        )
    dtype, scale = query.dtype, query.shape[-1] ** -0.5 if scale is None else scale
    with torch.autocast("cpu", enabled=False):
        query, key, value = (one.to(torch.promote_types(dtype, torch.float32)) for one in (query, key, value))
        scores = (query * scale) @ key.transpose(-2, -1)
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        return (dropout(scores.softmax(-1), dropout_p) @ value).to(dtype)


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, num_dropped: int) -> Tensor:
        ctx.scale = LEVELS / (LEVELS - num_dropped)
        kept = _draw(values.numel(), num_dropped).view(values.shape)
        ctx.save_for_backward(kept)
        return (values * kept.to(values.dtype)).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (grad * kept.to(grad.dtype)).mul_(ctx.scale), None


def _draw(size: int, num_dropped: int) -> Tensor:
    """(size,) ones and, at a share of `num_dropped` / `LEVELS`, zeros, as bytes (which torch turns into floats faster than truth
    values)."""
    seed = int(torch.randint(2**62, ()))
    bits = np.random.SFC64(seed).random_raw(-(-size // 4)).view(np.uint16)[:size]
    return torch.from_numpy((bits >= num_dropped).view(np.uint8))
