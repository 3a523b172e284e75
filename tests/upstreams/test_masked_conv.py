"""The first convolution of the group-norm models, against a convolution and a group norm, one utterance at a time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mlsuperb.upstreams.masked_conv import MaskedFirstConv

LENGTHS = [4000, 15, 1234]


def layer(*, bias: bool) -> SimpleNamespace:
    torch.manual_seed(0)
    norm = nn.GroupNorm(8, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return SimpleNamespace(conv=nn.Conv1d(1, 8, 10, stride=5, bias=bias), layer_norm=norm, activation=nn.GELU())


def waves() -> Tensor:
    """A loud hum with little beside it, and an offset: what a high-pass filter lets through is small."""
    time_T = torch.arange(max(LENGTHS)) / 16000
    return (0.3 + torch.sin(2 * torch.pi * 60 * time_T) + 0.001 * torch.randn(len(LENGTHS), 1, max(LENGTHS))).float()


@pytest.mark.parametrize("bias", [False, True])
def test_equals_convolution_and_norm_of_each_utterance_alone(bias: bool) -> None:
    parts = layer(bias=bias)
    parameters = [*parts.conv.parameters(), *parts.layer_norm.parameters()]
    wave_B1T = waves()
    first = MaskedFirstConv(parts)  # type: ignore[arg-type]
    first.num_samples_B = torch.tensor(LENGTHS)
    found_BCF = first(wave_B1T)
    seen = 0
    for row, length in enumerate(LENGTHS):
        alone_BCF = parts.activation(parts.layer_norm(parts.conv(wave_B1T[row : row + 1, :, :length])))
        valid_BCF = found_BCF[row : row + 1, :, : alone_BCF.shape[-1]]
        torch.testing.assert_close(valid_BCF, alone_BCF, rtol=1e-4, atol=1e-4)
        weights = torch.randn_like(alone_BCF)
        expected = torch.autograd.grad((alone_BCF * weights).sum(), parameters)
        gradients = torch.autograd.grad((valid_BCF * weights).sum(), parameters, retain_graph=True)
        for gradient, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()) + 1e-3)
            seen += 1
    assert seen == len(LENGTHS) * len(parameters)


def test_bf16_is_as_near_as_convolution_and_norm_in_bf16() -> None:
    parts, wave_11T = layer(bias=False), waves()[:1]
    first = MaskedFirstConv(parts)  # type: ignore[arg-type]
    first.num_samples_B = torch.tensor(LENGTHS[:1])
    expected = first(wave_11T)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, plain = first(wave_11T), parts.activation(parts.layer_norm(parts.conv(wave_11T)))
    assert found.dtype == torch.bfloat16
    assert (found - expected).norm() < 1.2 * (plain - expected).norm()
