"""A mixture of LoRA experts beside its formula; what it shares with other adaptations is tested in test_all_adaptations.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlsuperb.adaptation.mixture import Experts, LoRAMixture
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.upstreams.random_hubert import RandomHubert


def test_the_update_is_that_of_the_experts_weighted_frame_by_frame() -> None:
    torch.manual_seed(0)
    experts = Experts(nn.Linear(6, 5), num_experts=3, rank=2, scale=1.5)
    values_BFI = torch.randn(2, 4, 6)
    assert experts.gates(values_BFI).eq(1 / 3).all()
    assert experts(values_BFI).eq(0).all()
    nn.init.normal_(experts.up)
    nn.init.normal_(experts.router.weight)
    for frame_I, found_O in zip(values_BFI.flatten(0, 1), experts(values_BFI).flatten(0, 1), strict=True):
        scores = [(experts.router.weight[e] @ frame_I).item() for e in range(3)]
        shares = torch.tensor(scores).exp() / torch.tensor(scores).exp().sum()
        updates = [experts.up[:, 2 * e : 2 * e + 2] @ (experts.down[2 * e : 2 * e + 2] @ frame_I) for e in range(3)]
        expected_O = 1.5 * sum(share * update for share, update in zip(shares, updates, strict=True))
        torch.testing.assert_close(found_O, expected_O)


def test_one_expert_is_lora() -> None:
    experts = Experts(nn.Linear(6, 5), num_experts=1, rank=2, scale=2.0)
    nn.init.normal_(experts.up)
    values_FI = torch.randn(4, 6)
    torch.testing.assert_close(experts(values_FI), 2.0 * values_FI @ experts.down.T @ experts.up.T)


def test_it_sits_in_the_chosen_layers() -> None:
    upstream = RandomHubert()
    trained = LoRAMixture(num_experts=2, rank=3, layers=[2], attention=["q"], ffn=True).apply(upstream)
    assert {name.rpartition(".experts.")[0].split("layers.")[1] for name in trained} == {
        "1.attention.q_proj", "1.feed_forward.intermediate_dense", "1.feed_forward.output_dense"
    }  # fmt: skip
    block = upstream.model.encoder.layers[1]
    linears = (block.attention.q_proj, block.feed_forward.intermediate_dense, block.feed_forward.output_dense)
    assert sum(upstream.get_parameter(name).numel() for name in trained) == sum(
        2 * one.in_features + 2 * 3 * (one.in_features + one.out_features) for one in linears
    )


def test_settings_of_peft_are_none_of_a_mixture() -> None:
    with pytest.raises(TypeError, match="dora"):
        LoRAMixture(dora=True)
    with pytest.raises(ValueError, match=r"adaptation\.attention is empty"):
        LoRAMixture(attention=[])


def test_one_expert_is_refused_before_anything_is_loaded() -> None:
    found = find_problems(compose(["upstream=tiny", "adaptation=lora_mixture", "adaptation.num_experts=1"]))
    assert len(found) == 1
    assert "adaptation.num_experts=1 is a plain LoRA" in found[0]
    assert "use adaptation=lora" in found[0]
    assert find_problems(compose(["upstream=tiny", "adaptation=lora_mixture", "adaptation.num_experts=2"])) == []
