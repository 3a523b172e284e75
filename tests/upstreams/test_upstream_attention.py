"""Every Hugging Face model runs the fused attention, and none waits for a GPU to look at a mask."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_checkpoints import FAMILIES
from torch import nn

from mlsuperb.upstreams.attention import padding_mask
from mlsuperb.upstreams.huggingface import HuggingFace


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_block_calls_the_fused_attention(
    family: str, training: bool, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    fused = nn.functional.scaled_dot_product_attention

    def counted(*arguments: object, **keywords: object) -> torch.Tensor:
        calls.append(keywords)
        found: torch.Tensor = fused(*arguments, **keywords)  # type: ignore[arg-type]
        return found

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", counted)
    upstream = HuggingFace(checkpoint=str(checkpoints[family])).train(training)
    upstream(torch.randn(2, 9600), torch.tensor([9600, 8000]))
    assert len(calls) == upstream.num_layers - 1


def test_a_gpu_is_not_asked_whether_there_is_padding() -> None:
    on_gpu = torch.ones(2, 7, device="meta").long()  # has no values that could be looked at
    mask = padding_mask(batch_size=2, q_length=7, kv_length=7, attention_mask=on_gpu)
    assert mask is not None
    assert (mask.shape, mask.dtype) == ((2, 1, 1, 7), torch.bool)
