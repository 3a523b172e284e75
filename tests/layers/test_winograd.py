from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlsuperb.layers import winograd
from mlsuperb.layers.winograd import conv3x3


def both_ways(height: int, width: int, *, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and gradients of our convolution, and of torch's in fp64."""
    torch.manual_seed(0)
    maps_NHWC = torch.randn(2, height + height % 2 + 2, width + width % 2 + 2, 8, dtype=torch.float64)
    weight, bias = torch.randn(6, 8, 3, 3, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    seen_NCHW = maps_NHWC[:, : height + 2, : width + 2].permute(0, 3, 1, 2)
    grad_NHWK = torch.randn(2, height, width, 6, dtype=torch.float64)

    def torchs(maps_NCHW: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return nn.functional.conv2d(maps_NCHW, weight, bias).permute(0, 2, 3, 1)

    def ours(maps_NHWC: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return conv3x3(maps_NHWC, weight, bias, height=height, width=width)

    found = []
    for function, maps, kind in ((ours, maps_NHWC, dtype), (torchs, seen_NCHW, torch.float64)):
        inputs = [one.to(kind).requires_grad_() for one in (maps, weight, bias)]
        out = function(*inputs)
        found.append([out.detach(), *torch.autograd.grad(out, inputs, grad_NHWK.to(kind))])
    found[0][1] = found[0][1][:, : height + 2, : width + 2].permute(0, 3, 1, 2)
    return found[0], found[1]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (4, 6), (7, 3), (11, 8)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1.5e-2)])
def test_outputs_and_gradients_are_torchs(
    height: int, width: int, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "ROWS", 3)  # so that there are several blocks, the last one smaller
    ours, torchs = both_ways(height, width, dtype=dtype)
    assert len(ours) == len(torchs) == 4
    for one, other in zip(ours, torchs, strict=True):
        assert one.dtype == dtype
        assert (one - other).norm() < tolerance * other.norm()


def test_rows_and_columns_beyond_the_outputs_do_not_matter() -> None:
    maps_NHWC, weight, bias = torch.randn(1, 8, 10, 4), torch.randn(4, 4, 3, 3), torch.randn(4)
    other_NHWC = maps_NHWC.clone()
    other_NHWC[:, 7:], other_NHWC[:, :, 9:] = 100.0, -100.0
    outs = [conv3x3(one, weight, bias, height=5, width=7) for one in (maps_NHWC, other_NHWC)]
    assert outs[0].shape == (1, 5, 7, 4)
    assert torch.equal(*outs)
