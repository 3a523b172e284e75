from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.layers import frontends, winograd
from mlsuperb.layers.frontends import StridedConv2d
from mlsuperb.layers.winograd import conv3x3, is_worth_it


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


@pytest.mark.parametrize(("ours_s", "torchs_s", "worth_it"), [(1.0, 2.0, True), (1.2, 1.0, True), (3.0, 1.0, False)])
def test_where_torchs_own_is_clearly_faster_it_is_used(
    ours_s: float, torchs_s: float, worth_it: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(winograd, "thread_seconds", lambda _: {"Winograd's": ours_s, "torch's": torchs_s})
    frontend = StridedConv2d(12, winograd.MIN_CHANNELS, num_halvings=1)
    used = []
    monkeypatch.setattr(frontends, "is_worth_it", is_worth_it.__wrapped__)  # nothing is remembered
    monkeypatch.setattr(frontends, "conv3x3", lambda *given, **size: used.append(given) or conv3x3(*given, **size))
    with caplog.at_level("INFO"), torch.inference_mode():
        frontend(torch.randn(1, 20, 12), torch.tensor([20]))
    assert bool(used) is worth_it
    assert f"3 x 3 convolutions by {'Winograd' if worth_it else 'torch'}'s algorithm" in caplog.text


def test_few_channels_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "thread_seconds", lambda _: pytest.fail("measured"))
    assert is_worth_it.__wrapped__(winograd.MIN_CHANNELS - 1, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_measured_runs_under_any_mode(dtype: torch.dtype) -> None:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert is_worth_it.__wrapped__(winograd.MIN_CHANNELS, dtype) in (True, False)


def test_a_heads_gradients_are_those_of_the_direct_way() -> None:
    """In fp32, of every parameter of a head under a loss."""
    torch.manual_seed(0)
    head = TransformerHead(input_size=24, projection=20, size=64, num_heads=4, ffn_size=64).eval()
    feats_BFD, lengths_B = torch.randn(2, 60, 24), torch.tensor([60, 43])
    direction_BFH = torch.randn(2, int(head.num_frames(lengths_B).max()), 64)
    found = []
    for fewer_products in (True, False):
        head.frontend.fewer_products = fewer_products
        loss = (head(feats_BFD, lengths_B).values * direction_BFH).sum()
        found.append(
            dict(zip(dict(head.named_parameters()), torch.autograd.grad(loss, [*head.parameters()]), strict=True))
        )
    fast, slow = found
    rounding = 1e-6 * max(one.norm() for one in slow.values())  # all that a key's bias has, before a softmax
    for name, exact in slow.items():
        assert (fast[name] - exact).norm() < 3e-4 * exact.norm() + rounding, name
