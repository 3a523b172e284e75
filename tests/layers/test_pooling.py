"""From frames to one vector: each pooling beside its formula on every utterance alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mlsuperb.layers.pooling import POOLINGS, AttentiveStatistics

LENGTHS = (9, 4, 1)


@pytest.fixture
def frames() -> tuple[Tensor, Tensor]:
    """Garbage beyond the valid frames."""
    torch.manual_seed(0)
    return torch.randn(3, 9, 5), torch.tensor(LENGTHS)


def by_hand(pooling: AttentiveStatistics, frames_FH: Tensor) -> Tensor:
    """Equations 3 to 6 of arXiv 1803.10963, with the context of section 3.1 of arXiv 2005.07143, frame by frame."""
    inner, _, outer = pooling.attention
    context_FC = frames_FH
    if pooling.channels:
        deviation_H = frames_FH.var(0, correction=0).clamp(min=1e-4).sqrt()
        overall_P = torch.cat((frames_FH.mean(0), deviation_H))
        context_FC = torch.stack([torch.cat((frame_H, overall_P)) for frame_H in frames_FH])
    weights_FX = (torch.tanh(context_FC @ inner.weight.T + inner.bias) @ outer.weight.T).softmax(0)
    mean_H = (weights_FX * frames_FH).sum(0)
    square_H = (weights_FX * frames_FH**2).sum(0)
    return torch.cat((mean_H, (square_H - mean_H**2).clamp(min=1e-4).sqrt()))


@pytest.mark.parametrize("channels", [False, True])
def test_attentive_statistics(frames: tuple[Tensor, Tensor], channels: bool) -> None:
    values_BFH, lengths_B = frames
    pooling = AttentiveStatistics(5, channels=channels)
    pooled_BP = pooling(values_BFH, lengths_B)
    assert pooled_BP.shape == (3, pooling.output_size)
    expected = [by_hand(pooling, one[:length]) for one, length in zip(values_BFH, LENGTHS, strict=True)]
    torch.testing.assert_close(pooled_BP, torch.stack(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", POOLINGS)
def test_padding_changes_nothing(frames: tuple[Tensor, Tensor], name: str) -> None:
    values_BFH, lengths_B = frames
    pooling = POOLINGS[name](5)
    pooled_BP = pooling(values_BFH, lengths_B)
    longer = torch.cat((values_BFH, torch.full((3, 4, 5), 1e4)), dim=1)
    torch.testing.assert_close(pooling(longer, lengths_B), pooled_BP)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(
            pooling(values_BFH[row : row + 1, :length], lengths_B[row : row + 1])[0], pooled_BP[row]
        )


@pytest.mark.parametrize("name", POOLINGS)
def test_no_frames_are_no_nan(name: str) -> None:
    pooled_BP = POOLINGS[name](5)(torch.randn(2, 4, 5), torch.tensor([0, 4]))
    assert pooled_BP.isfinite().all()


def test_a_constant_channel_has_finite_gradients() -> None:
    """One frame has no deviation."""
    values_BFH = torch.ones(2, 1, 5, requires_grad=True)
    AttentiveStatistics(5, channels=True)(values_BFH, torch.tensor([1, 1])).sum().backward()
    assert torch.isfinite(values_BFH.grad).all()
