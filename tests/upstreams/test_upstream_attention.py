"""Every Hugging Face model runs the fused attention, and none waits for a GPU to look at a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_checkpoints import FAMILIES
from torch import nn

from mlsuperb.layers.dropout import Dropout
from mlsuperb.upstreams import attention as upstreams_attention
from mlsuperb.upstreams.attention import attention, padding_mask
from mlsuperb.upstreams.huggingface import HuggingFace

FUSED = "scaled_dot_product_attention"


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_block_calls_the_faster_attention(
    family: str, training: bool, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's fused one; where weights are dropped, of which a CPU has none, the one with faster masks."""
    calls: dict[object, list[float]] = {nn.functional: [], upstreams_attention: []}

    def count(owner: Any) -> None:
        inner = getattr(owner, FUSED)

        def counted(*arguments: object, **keywords: Any) -> torch.Tensor:
            calls[owner].append(keywords.get("dropout_p", 0.0))
            found: torch.Tensor = inner(*arguments, **keywords)
            return found

        monkeypatch.setattr(owner, FUSED, counted)

    upstream = HuggingFace(checkpoint=str(checkpoints[family])).train(training)
    for owner in calls:
        count(owner)
    upstream(torch.randn(2, 9600), torch.tensor([9600, 8000]))
    rate = upstream.model.config.attention_dropout if training else 0.0
    assert calls[upstreams_attention if rate else nn.functional] == [rate] * (upstream.num_layers - 1)
    assert not (rate and calls[nn.functional])


@pytest.mark.parametrize("bias", [None, torch.linspace(-1, 1, 2 * 4 * 7 * 7).view(2, 4, 7, 7)])
def test_dropout_in_an_encoder_drops_what_torch_would(bias: torch.Tensor | None) -> None:
    """With masks that drop nothing: transformers' function without dropout."""
    torch.manual_seed(0)
    encoder, decoder = nn.Module(), nn.Module()
    encoder.is_causal, decoder.is_causal = False, True
    given = (*torch.randn(3, 2, 4, 7, 16), torch.arange(7) < torch.tensor([7, 4])[:, None, None, None])
    with pytest.MonkeyPatch.context() as patch:
        drawn: list[int] = []
        patch.setattr("mlsuperb.layers.dropout._draw", lambda size, _: drawn.append(size) or torch.ones(size).byte())
        found, _ = attention(encoder, *given, dropout=0.5, scaling=0.3, position_bias=bias)
        assert drawn == [2 * 4 * 7 * 7]
        attention(decoder, *given[:3], None, dropout=0.5, scaling=0.3)  # causal: transformers' own
        assert len(drawn) == 1
    expected, _ = attention(encoder, *given, scaling=0.3, position_bias=bias)
    torch.testing.assert_close(found, 2 * expected)


def test_every_dropout_of_a_model_is_the_faster_one(checkpoints: dict[str, Path]) -> None:
    for family in FAMILIES:
        kinds = {type(one) for one in HuggingFace(checkpoint=str(checkpoints[family])).modules()}
        assert Dropout in kinds
        assert nn.Dropout not in kinds


def test_a_gpu_is_not_asked_whether_there_is_padding() -> None:
    on_gpu = torch.ones(2, 7, device="meta").long()  # has no values that could be looked at
    mask = padding_mask(batch_size=2, q_length=7, kv_length=7, attention_mask=on_gpu)
    assert mask is not None
    assert (mask.shape, mask.dtype) == ((2, 1, 1, 7), torch.bool)
