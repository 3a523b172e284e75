"""Sums over all ranks of a job, through which gradients flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mlsuperb.runtime import ranks


def total(values: Tensor) -> Tensor:
    """Sum of `values` over all ranks that count (`ranks.counting`); all have to call it, forwards and backwards."""
    if ranks.world() == 1:
        return values
    summed: Tensor = _Total.apply(values if ranks.counts() else values * 0)
    return summed


class _Total(torch.autograd.Function):
    """What each rank put in moves the losses of all."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        summed = values.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _Total.forward(_, gradient)
