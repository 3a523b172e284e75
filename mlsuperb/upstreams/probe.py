"""Compare two upstreams by their layers: on noise that is always the same."""

from __future__ import annotations

import torch
from torch import Tensor

from mlsuperb.types import SAMPLE_RATE_HZ
from mlsuperb.upstreams.base import Upstream

MERGED_TOLERANCE = (
    1e-5  # between a model with adapters beside its weights and one with them merged: of a layer's largest value
)


@torch.inference_mode()
def layers_of_noise(upstream: Upstream) -> tuple[Tensor, ...]:
    """All layers of a second and of half a second of noise, in one batch."""
    generator = torch.Generator().manual_seed(0)
    wave_BT = 0.1 * torch.randn(2, SAMPLE_RATE_HZ, generator=generator)
    device = next((one.device for one in upstream.parameters()), torch.device("cpu"))
    lengths_B = torch.tensor([SAMPLE_RATE_HZ, SAMPLE_RATE_HZ // 2], device=device)
    return upstream.eval()(wave_BT.to(device), lengths_B).layers


def largest_difference(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> float:
    """The largest difference of any value, relative to the largest value of its layer."""
    assert len(before) == len(after)
    return max(
        float((one - other).abs().max() / one.abs().max().clamp(min=1e-9))
        for one, other in zip(before, after, strict=True)
    )
