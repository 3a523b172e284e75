"""4-bit weights: which, how exact, and what bitsandbytes must not do with them."""

from __future__ import annotations

import copy

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from torch import nn

from mlsuperb.adaptation import qlora
from mlsuperb.adaptation.lora import LoRA
from mlsuperb.adaptation.qlora import QLoRA
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.training.parameters import num_parameters
from mlsuperb.upstreams.random_hubert import RandomHubert


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    return 0.1 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)), torch.tensor([4000])


def quantised(upstream: nn.Module) -> dict[str, Linear4bit]:
    return {name: module for name, module in upstream.named_modules() if isinstance(module, Linear4bit)}


@torch.no_grad()
@pytest.mark.parametrize("double_quantisation", [True, False])
def test_equals_a_float_model_with_the_dequantised_weights(double_quantisation: bool) -> None:
    upstream = RandomHubert(num_blocks=2)
    float_model = copy.deepcopy(upstream).eval()
    before = float_model(*waves()).layers[-1]
    QLoRA(compute_type="fp32", double_quantisation=double_quantisation).apply(upstream)
    layers = quantised(upstream)
    assert len(layers) == 2 * 6
    for name, layer in layers.items():
        assert layer.weight.quant_state.nested is double_quantisation
        assert layer.weight.quant_state.quant_type == "nf4"
        plain = float_model.get_submodule(name.removesuffix(".base_layer"))
        error = dequantize_4bit(layer.weight.data, layer.weight.quant_state) - plain.weight
        assert 0.01 < error.norm() / plain.weight.norm() < 0.15, "about 9 % with random weights"
        plain.weight.add_(error)
    expected = float_model(*waves()).layers[-1]
    torch.testing.assert_close(upstream.eval()(*waves()).layers[-1], expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(before, expected, atol=1e-3)


def test_only_the_linear_layers_of_the_blocks_are_quantised() -> None:
    upstream = RandomHubert(num_blocks=2)
    before = {name: one.clone() for name, one in upstream.named_parameters()}
    QLoRA(compute_type="fp32").apply(upstream)
    assert all(name.startswith("model.encoder.layers.") for name in quantised(upstream))
    kept = {name: one for name, one in upstream.named_parameters() if name in before}
    assert {name.split(".")[1] for name in kept} == {"feature_extractor", "feature_projection", "encoder"}
    assert any("pos_conv_embed" in name for name in kept)
    for name, one in kept.items():
        if ".feed_forward." not in name or name.endswith("bias"):
            assert torch.equal(one, before[name]), name


def test_the_size_that_counts_is_the_logical_one() -> None:
    plain, small = RandomHubert(num_blocks=2), RandomHubert(num_blocks=2)
    LoRA(rank=2).apply(plain)
    QLoRA(rank=2).apply(small)
    assert num_parameters(small.parameters()) == num_parameters(plain.parameters())
    assert sum(one.numel() for one in small.parameters()) < num_parameters(small.parameters())
    nbytes = [sum(one.nbytes for one in upstream.model.encoder.layers.parameters()) for upstream in (plain, small)]
    assert nbytes[1] < nbytes[0] / 4


@torch.no_grad()
@pytest.mark.parametrize("compute_type", ["fp32", "bf16"])
def test_nothing_frozen_changes_in_evaluation_nor_when_it_is_moved(compute_type: qlora.ComputeType) -> None:
    upstream = RandomHubert(num_blocks=2)
    QLoRA(compute_type=compute_type).apply(upstream)
    before = {name: one.clone() for name, one in upstream.state_dict().items()}
    expected = upstream.eval()(*waves()).layers[-1]
    assert all(
        not getattr(one.weight.quant_state, "packing_format_for_cpu", False) for one in quantised(upstream).values()
    )
    moved = upstream.to("cpu")
    assert torch.equal(moved.eval()(*waves()).layers[-1], expected)
    after = upstream.state_dict()
    assert after.keys() == before.keys()
    assert all(after[name].dtype == one.dtype and torch.equal(after[name], one) for name, one in before.items())


def test_sizes_that_the_fast_cpu_path_cannot_take() -> None:
    """bitsandbytes 0.50 on a CPU with AVX512-BF16 fails on them in evaluation."""
    upstream = RandomHubert(num_blocks=1, hidden_size=48)
    QLoRA(compute_type="fp32").apply(upstream)
    with torch.no_grad():
        upstream.eval()(*waves())
    upstream.train()(*waves()).layers[-1].sum().backward()


def test_bf16_autocast_trains() -> None:
    for compute_type in ("fp32", "bf16"):
        upstream = RandomHubert(num_blocks=1)
        trained = QLoRA(compute_type=compute_type, rank=2).apply(upstream)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = upstream.train()(*waves()).layers[-1].float().square().sum()
        loss.backward()
        assert all(upstream.get_parameter(name).grad.isfinite().all() for name in trained)


def test_without_bitsandbytes_it_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose(["adaptation=qlora"])
    assert find_problems(config, groups=("adaptation",)) == []
    monkeypatch.setattr(qlora, "find_spec", lambda name: None)
    (problem,) = find_problems(config, groups=("adaptation",))
    assert "needs bitsandbytes, which is not installed: pip install 'mlsuperb[cuda]'" in problem
