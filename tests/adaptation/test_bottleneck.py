"""Where the bottlenecks stand, against blocks written out by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mlsuperb.adaptation.bottleneck import BottleneckAdaptation, ESPnetHoulsby, Houlsby, Pfeiffer
from mlsuperb.layers.dropout import dropout
from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.random_hubert import RandomHubert

SIZE, WIDTH = 32, 4


def adapted(adaptation: BottleneckAdaptation) -> tuple[Upstream, nn.Module]:
    """An upstream whose bottlenecks do something, and its first block."""
    torch.manual_seed(0)
    upstream = RandomHubert(num_blocks=2, hidden_size=SIZE)
    for name in adaptation.apply(upstream):
        nn.init.normal_(upstream.get_parameter(name), std=0.3)
    return upstream, upstream.model.encoder.layers[0]


def bottleneck(module: nn.Module, values: Tensor) -> Tensor:
    """down, GELU, up, as in `espnet2/layers/houlsby_adapter_layer.py`."""
    inner = module.bottleneck
    hidden = nn.functional.gelu(values @ inner.down.weight.T + inner.down.bias)
    return hidden @ inner.up.weight.T + inner.up.bias


def ffn_before_dropout(block: nn.Module, values: Tensor) -> Tensor:
    ffn = block.feed_forward
    hidden = ffn.intermediate_dropout(nn.functional.gelu(ffn.intermediate_dense(values)))
    return hidden @ ffn.output_dense.weight.T + ffn.output_dense.bias


def attention(block: nn.Module, values: Tensor) -> Tensor:
    """Without its adapter."""
    plain = copy.deepcopy(block.attention)
    plain.__class__ = getattr(type(plain), "original", type(plain))
    output: Tensor = plain(values)[0]
    return output


@pytest.mark.parametrize("training", [False, True])
def test_espnet_houlsby_is_the_documented_formula_in_either_mode(training: bool) -> None:
    _, block = adapted(ESPnetHoulsby(width=WIDTH, activation="gelu"))
    block.train(training)
    values = torch.randn(2, 7, SIZE)
    torch.manual_seed(1)
    found = block(values)

    torch.manual_seed(1)
    residual = block.layer_norm(values + block.dropout(block.attention(values)[0]))
    ffn = ffn_before_dropout(block, residual)
    dropped = dropout(ffn, block.feed_forward.output_dropout.p) if training else ffn
    expected = block.final_layer_norm(residual + dropped + bottleneck(block.feed_forward.output_dropout, ffn))
    assert block.feed_forward.output_dropout.p > 0
    torch.testing.assert_close(found, expected)


def test_houlsby_has_one_after_attention_and_one_after_the_feed_forward_network() -> None:
    _, block = adapted(Houlsby(width=WIDTH, activation="gelu"))
    block.eval()
    values = torch.randn(2, 7, SIZE)
    attended = attention(block, values)
    residual = block.layer_norm(values + attended + bottleneck(block.attention, attended))
    ffn = ffn_before_dropout(block, residual)
    expected = block.final_layer_norm(residual + ffn + bottleneck(block.feed_forward.output_dense, ffn))
    torch.testing.assert_close(block(values), expected)


def test_pfeiffer_stands_at_the_end_of_a_block_and_in_the_hidden_states() -> None:
    upstream, block = adapted(Pfeiffer(width=WIDTH, activation="gelu"))
    upstream.eval()
    wave_BT, lengths_B = torch.randn(1, 4000), torch.tensor([4000])
    layers = upstream(wave_BT, lengths_B).layers
    plain = copy.deepcopy(block)
    plain.__class__ = type(plain).original
    unchanged = plain(layers[0])
    torch.testing.assert_close(layers[1], unchanged + bottleneck(block, unchanged))
    assert (layers[1] - unchanged).abs().max() > 0.1


def test_only_the_chosen_blocks_get_one_and_a_copy_has_its_own() -> None:
    upstream, block = adapted(Pfeiffer(width=WIDTH, activation="relu", layers=2))
    assert not hasattr(block, "bottleneck")
    twin = copy.deepcopy(upstream).eval()
    wave_BT, lengths_B = torch.randn(1, 4000), torch.tensor([4000])
    before = twin(wave_BT, lengths_B).layers[-1]
    nn.init.zeros_(upstream.model.encoder.layers[1].bottleneck.up.weight)
    torch.testing.assert_close(twin(wave_BT, lengths_B).layers[-1], before)
    assert not torch.allclose(upstream.eval()(wave_BT, lengths_B).layers[-1], before)


def test_the_base_keeps_its_names() -> None:
    names = set(RandomHubert(num_blocks=2, hidden_size=SIZE).state_dict())
    upstream, _ = adapted(Houlsby(width=WIDTH, activation="silu"))
    added = set(upstream.state_dict()) - names
    assert names < set(upstream.state_dict())
    assert len(added) == 2 * 2 * 4
    assert all(".bottleneck." in name for name in added)
