"""The GPU that is not there refuses what a real one refuses, and notices what makes the host wait for a real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from absent_gpu import AbsentGPU, on_gpu, on_host
from torch import Tensor, nn

HOST = torch.ones(2)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.max().item(),
        lambda x: x.tolist(),
        lambda x: bool(x.any()),
        lambda x: x[x > 1],
        lambda x: x.nonzero(),
        lambda x: x.cpu(),
        lambda x: HOST.clone().copy_(x),
        lambda x: torch.equal(x, x),
        lambda x: x.index_put_((x >= 0,), x.clone()),
    ],
)
def test_waiting_is_noticed(wait: Callable[[Tensor], Any]) -> None:
    with AbsentGPU() as gpu:
        wait(torch.arange(2, device="cuda"))
    assert gpu.reads


def test_what_can_be_done_without_waiting() -> None:
    with AbsentGPU() as gpu:
        x = torch.arange(6.0, device="cuda").view(2, 3)
        x[x > 4] = 0.0
        x = x[:, torch.tensor([0, 1, 2], device="cuda")]
        x[0, 0] = 7.0
        y = on_gpu(nn.Linear(3, 2))(x.transpose_(0, 1).contiguous().t()) * torch.tensor(2.0)  # a number of the host's
        z = torch.zeros(2, device="cuda").copy_(HOST)
    assert not gpu.reads
    assert on_host(x).tolist() == [[7, 3], [1, 4], [2, 0]]
    assert (y.device.type, y.shape, on_host(z).tolist()) == ("cuda", (2, 2), [1, 1])


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (lambda x: x + HOST, "tensors of two devices"),
        (lambda x: torch.cat([HOST, x]), "tensors of two devices"),
        (lambda x: nn.Linear(2, 2)(x), "tensors of two devices"),
        (lambda x: HOST.clone().add_(x), "tensors of two devices"),
        (lambda x: torch.rand(2, device="cuda", generator=torch.Generator()), "a generator of the host"),
        (lambda x: x.numpy(), "can't convert cuda:0"),
    ],
)
def test_two_devices_do_not_meet(mix: Callable[[Tensor], Any], message: str) -> None:
    with AbsentGPU(), torch.no_grad(), pytest.raises((RuntimeError, TypeError), match=message):
        mix(torch.ones(2, device="cuda"))


def test_a_result_on_the_host_is_noticed() -> None:
    with pytest.raises(AssertionError, match="cpu instead of cuda"):
        on_host(HOST)
