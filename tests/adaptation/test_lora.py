"""LoRA against the formula, peft's own classes, and a plain model into which the exported folder is loaded."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import HubertModel

from mlsuperb.adaptation.base import Adaptation
from mlsuperb.adaptation.frozen import Frozen
from mlsuperb.adaptation.lora import LoRA, LowRank
from mlsuperb.adaptation.mixture import LoRAMixture
from mlsuperb.benchmark import build
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.training.progress import Progress
from mlsuperb.upstreams.random_hubert import RandomHubert
from mlsuperb.upstreams.selfsupervised import SelfSupervised


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    return 0.1 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)), torch.tensor([4000])


def learned(adaptation: LoRA) -> RandomHubert:
    """An upstream whose updates do something."""
    upstream = RandomHubert(num_blocks=3, hidden_size=32)
    torch.manual_seed(5)
    for name in adaptation.apply(upstream):
        parameter = upstream.get_parameter(name)
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return upstream.eval()


@torch.no_grad()
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rslora": True, "layers": "2-3"},
        {"dora": True, "attention": ["k", "q", "v"]},
        {"attention": [], "ffn": True},
    ],
)
def test_the_exported_folder_opens_in_peft_with_equal_output(settings: dict[str, Any], tmp_path: Path) -> None:
    adaptation = LoRA(rank=3, alpha=5.5, dropout=0.1, **settings)
    upstream = learned(adaptation)
    adaptation.export(upstream, tmp_path)
    assert {path.name for path in (tmp_path / "peft_adapter").iterdir()} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    plain = RandomHubert(num_blocks=3, hidden_size=32)
    base = HubertModel(plain.model.config)
    base.load_state_dict(plain.model.state_dict())
    opened = PeftModel.from_pretrained(base, str(tmp_path / "peft_adapter")).eval()

    found = SelfSupervised(base).eval()(*waves()).layers
    expected, before = upstream(*waves()).layers, plain.eval()(*waves()).layers
    assert len(found) == 4
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.allclose(found[-1], before[-1], atol=1e-2)
    merged = SelfSupervised(opened.merge_and_unload()).eval()(*waves()).layers
    torch.testing.assert_close(merged[-1], expected[-1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("rslora", "scale"), [(False, 6 / 3), (True, 6 / math.sqrt(3))])
def test_the_update_is_the_papers(rslora: bool, scale: float) -> None:
    upstream = learned(LoRA(rank=3, alpha=6, rslora=rslora, attention=["q"]))
    layer = upstream.model.encoder.layers[1].attention.q_proj
    down, up = layer.lora_A.encoder.weight, layer.lora_B.encoder.weight
    values = torch.randn(2, 5, 32)
    torch.testing.assert_close(layer(values), layer.base_layer(values) + scale * values @ down.T @ up.T)


@torch.no_grad()
def test_what_goes_into_an_update_is_dropped_in_training_alone() -> None:
    layer = learned(LoRA(rank=3, dropout=0.5, attention=["q"])).model.encoder.layers[1].attention.q_proj
    values = torch.randn(2, 5, 32)
    torch.testing.assert_close(layer(values), layer(values))
    layer.train()
    assert not torch.allclose(layer(values), layer(values))


@torch.no_grad()
def test_dora_is_the_papers() -> None:
    """Equation 5 of arXiv 2402.09353: a magnitude for each output beside the direction."""
    upstream = learned(LoRA(rank=3, alpha=6, dora=True, attention=["q"]))
    layer = upstream.model.encoder.layers[1].attention.q_proj
    moved = layer.base_layer.weight + 2 * layer.lora_B.encoder.weight @ layer.lora_A.encoder.weight
    weight = layer.lora_magnitude_vector.encoder.weight[:, None] * moved / moved.norm(dim=1, keepdim=True)
    values = torch.randn(2, 5, 32)
    torch.testing.assert_close(layer(values), torch.nn.functional.linear(values, weight, layer.base_layer.bias))


def test_what_is_chosen_gets_an_update_and_nothing_else() -> None:
    upstream = RandomHubert(num_blocks=3)
    trained = LoRA(rank=2, attention=["k", "v"], ffn=True, layers=[1, 3]).apply(upstream)
    modules = {name.split(".lora_")[0].removeprefix("model.encoder.layers.") for name in trained}
    linears = ["attention.k_proj", "attention.v_proj", "feed_forward.intermediate_dense", "feed_forward.output_dense"]
    assert modules == {f"{block}.{linear}" for block in (0, 2) for linear in linears}
    assert len(trained) == 2 * len(modules)


def test_block_1_is_not_taken_for_block_10() -> None:
    trained = LoRA(rank=1, attention=["q"], layers=2).apply(RandomHubert(num_blocks=12, hidden_size=16))
    assert {name.split(".")[3] for name in trained} == {"1"}


def test_presets() -> None:
    v2, study = compose(["adaptation=lora_v2"])["adaptation"], compose(["adaptation=lora_peft_study"])["adaptation"]
    assert (v2["rank"], v2["alpha"]) == (16, 16)
    assert (study["rank"], study["alpha"], set(study["attention"])) == (8, 32, {"k", "q", "v"})


def test_an_update_of_nothing_is_refused() -> None:
    (problem,) = find_problems(compose(["adaptation=lora", "adaptation.attention=[]"]), groups=("adaptation",))
    assert "nothing would be trained: give projections (some of q, k, v, out) or adaptation.ffn=true" in problem
    with pytest.raises(ValueError, match="nothing would be trained"):
        LoRA(attention=[])


def test_only_some_adaptations_have_something_to_export(tmp_path: Path) -> None:
    plain: Adaptation = Frozen()
    plain.export(RandomHubert(num_blocks=1), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_exported_settings_name_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adaptation = LoRA(rank=2)
    upstream = learned(adaptation)
    monkeypatch.setattr(upstream, "record", lambda: {"checkpoint": "facebook/hubert-base-ls960"})
    adaptation.export(upstream, tmp_path)
    config = json.loads((tmp_path / "peft_adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "facebook/hubert-base-ls960"
    assert config["task_type"] is None
    assert config["inference_mode"] is True


def test_a_training_leaves_the_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adaptation = LoRA(rank=2)
    upstream = learned(adaptation)

    class Learned:
        """A trainer that finds everything done."""

        select_by, num_iterations, compile = "loss", 1, False

        def fit(self, model: Any, **_: Any) -> Progress:
            return Progress(iteration=1)

    parts = {"trainer": Learned(), "adaptation": adaptation}
    monkeypatch.setattr(build, "instantiate", lambda node: parts[node])
    model = SimpleNamespace(upstream=upstream, objective=SimpleNamespace(utterance_level=False))
    loading = SimpleNamespace(training=lambda _, seed: None)
    recogniser: Any = SimpleNamespace(model=model, figures=["loss"], loading=loading)
    run: Any = SimpleNamespace(folder=tmp_path, status=None)
    speech: Any = None
    config = {**{one: one for one in parts}, "seed": 0}
    assert build.train(config, recogniser, train=speech, dev=speech, run=run).iteration == 1
    assert (tmp_path / "peft_adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("kind", [LoRA, LoRAMixture])
def test_a_rank_above_the_size_of_the_layers_is_refused(kind: type[LowRank]) -> None:
    upstream = RandomHubert(num_blocks=1, hidden_size=32, conv_channels=16)
    with pytest.raises(ValueError, match=r"adaptation\.rank=33 is more than 32.* lower it, or .*adaptation=full"):
        kind(rank=33, ffn=True).apply(upstream)
    assert kind(rank=32).apply(upstream)
