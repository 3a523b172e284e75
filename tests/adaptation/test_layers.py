"""Choices of blocks, and what they come to in models of real size (built on the meta device)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

from mlsuperb.adaptation.base import Adaptation
from mlsuperb.adaptation.bottleneck import ESPnetHoulsby, Houlsby, Pfeiffer
from mlsuperb.adaptation.full import Full
from mlsuperb.adaptation.layers import choose_blocks, layers_problems
from mlsuperb.adaptation.lora import LoRA
from mlsuperb.adaptation.partial import Partial
from mlsuperb.adaptation.qlora import QLoRA
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.training.parameters import num_parameters
from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.random_hubert import RandomHubert
from mlsuperb.upstreams.selfsupervised import SelfSupervised

CAP = 100_000_000  # ML-SUPERB 2.0


def large(*, layers: int, size: int, heads: int) -> Upstream:
    """XLS-R and MMS: wav2vec 2.0 with layer norm in the front."""
    stable = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
    config = Wav2Vec2Config(
        num_hidden_layers=layers, hidden_size=size, intermediate_size=4 * size, num_attention_heads=heads, **stable
    )
    with torch.device("meta"):
        return SelfSupervised(Wav2Vec2Model(config))


def xls_r_300m() -> Upstream:
    return large(layers=24, size=1024, heads=16)


def mms_1b() -> Upstream:
    return large(layers=48, size=1280, heads=16)


def hubert_base() -> Upstream:
    with torch.device("meta"):
        return SelfSupervised(HubertModel(HubertConfig()))


BLOCK = 4 * (1024 * 1024 + 1024) + (2 * 1024 * 4096 + 4096 + 1024) + 4 * 1024  # attention, feed-forward, two norms


def test_the_presets_are_those_of_the_papers_in_24_layers() -> None:
    upstream = xls_r_300m()
    chosen = {place: choose_blocks(place, list(upstream.stacked_blocks())) for place in ("bottom", "middle", "top")}
    assert chosen == {"bottom": list(range(6)), "middle": list(range(8, 14)), "top": list(range(18, 24))}


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (mms_1b, {"bottom": (1, 4), "middle": (21, 24), "top": (45, 48)}),
        (hubert_base, {"bottom": (1, 3), "middle": (5, 7), "top": (10, 12)}),
        (lambda: RandomHubert(num_blocks=1), {"bottom": (1, 1), "middle": (1, 1), "top": (1, 1)}),
        (lambda: RandomHubert(num_blocks=5), {"bottom": (1, 1), "middle": (3, 3), "top": (5, 5)}),
    ],
)
def test_the_presets_at_other_depths(build: Any, expected: dict[str, tuple[int, int]]) -> None:
    upstream = build()
    for place, (first, last) in expected.items():
        assert choose_blocks(place, list(upstream.stacked_blocks())) == list(range(first - 1, last)), place
        trained = set(Partial(layers=place).apply(upstream))
        assert 0 < num_parameters(p for n, p in upstream.named_parameters() if n in trained) < CAP


@pytest.mark.parametrize(
    ("layers", "expected"),
    [(None, [0, 1, 2, 3]), (2, [1]), ("3", [2]), ("2-4", [1, 2, 3]), (" 1 - 1 ", [0]), ([4, 1], [0, 3])],
)
def test_choices(layers: Any, expected: list[int]) -> None:
    assert layers_problems(layers) == []
    assert choose_blocks(layers, list(RandomHubert(num_blocks=4).stacked_blocks())) == expected


@pytest.mark.parametrize("layers", [0, "0-3", "4-2", "low", "", "1-", "1,2", [], [1, 1], [0]])
def test_choices_that_cannot_be(layers: Any) -> None:
    (problem,) = layers_problems(layers)
    assert repr(layers) in problem
    assert "a range with both ends (1-6" in problem
    with pytest.raises(ValueError, match=r"adaptation\.layers is"):
        Pfeiffer(width=2, activation="relu", layers=layers)


def test_a_bad_choice_is_found_before_anything_is_loaded() -> None:
    for adaptation in ("partial", "houlsby", "lora", "qlora"):
        config = compose([f"adaptation={adaptation}", "adaptation.layers=6-1"])
        (problem,) = find_problems(config, groups=("adaptation",))
        assert "adaptation.layers is '6-1'" in problem
    assert find_problems(compose(["adaptation=lora", "adaptation.layers=7"]), groups=("adaptation",)) == []
    assert find_problems(compose(["adaptation=lora", "adaptation.layers=[1,7]"]), groups=("adaptation",)) == []


@pytest.mark.parametrize("layers", [5, "2-5", [1, 9]])
def test_blocks_that_the_upstream_does_not_have(layers: Any) -> None:
    with pytest.raises(ValueError, match=r"has 4 Transformer blocks, which count from 1\. Choose among 1-4"):
        Partial(layers=layers).apply(RandomHubert(num_blocks=4))


COUNTS: list[tuple[Adaptation, int]] = [
    (Partial(layers="middle"), 6 * BLOCK),
    (Partial(layers=[24]), BLOCK),
    (Houlsby(width=64, activation="gelu"), 24 * 2 * (2 * 1024 * 64 + 64 + 1024)),
    (Pfeiffer(width=64, activation="relu"), 24 * (2 * 1024 * 64 + 64 + 1024)),
    (ESPnetHoulsby(width=32, activation="gelu"), 24 * (2 * 1024 * 32 + 32 + 1024)),
    (LoRA(rank=16), 24 * 4 * 16 * 2048),
    (LoRA(rank=8, attention=["k", "q", "v"]), 24 * 3 * 8 * 2048),
    (LoRA(rank=8, attention=[], ffn=True, layers="1-12"), 12 * 2 * 8 * (1024 + 4096)),
    (QLoRA(rank=8), 24 * 4 * 8 * 2048),
]


@pytest.mark.parametrize(("adaptation", "expected"), COUNTS, ids=[type(one).__name__ for one, _ in COUNTS])
def test_trained_parameters_of_xls_r_300m(adaptation: Adaptation, expected: int) -> None:
    upstream = xls_r_300m()
    total = num_parameters(upstream.parameters())
    trained = set(adaptation.apply(upstream))
    assert num_parameters(p for p in upstream.parameters() if p.requires_grad) == expected < CAP
    added = 0 if isinstance(adaptation, Partial) else expected
    assert num_parameters(upstream.parameters()) == total + added
    assert trained == {name for name, one in upstream.named_parameters() if one.requires_grad}


def test_full_with_and_without_the_front() -> None:
    upstream = xls_r_300m()
    total = num_parameters(upstream.parameters())
    assert total > 315_000_000
    Full().apply(upstream)
    assert all(one.requires_grad for one in upstream.parameters())
    Full(convolutions=False).apply(upstream)
    frozen = [name for name, one in upstream.named_parameters() if not one.requires_grad]
    assert {name.split(".")[1] for name in frozen} == {"feature_extractor", "feature_projection", "encoder"}
    assert {".".join(name.split(".")[:3]) for name in frozen if ".encoder." in name} == {"model.encoder.pos_conv_embed"}
    trained = num_parameters(one for one in upstream.parameters() if one.requires_grad)
    assert trained == 24 * BLOCK + 2 * 1024  # blocks and the final layer norm
