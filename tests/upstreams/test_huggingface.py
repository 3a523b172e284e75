"""Loading checkpoints, and the layers against transformers itself."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_checkpoints import FAMILIES, save

from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.sources import config_digest

WAVE_FAMILIES = [family for family in FAMILIES if family != "w2v_bert"]


def noise(num_samples: int, *, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, num_samples, generator=torch.Generator().manual_seed(seed)) + 0.02


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_those_of_transformers_on_one_utterance(family: str, checkpoints: dict[str, Path]) -> None:
    folder, wave_BT = checkpoints[family], noise(12345)
    model = FAMILIES[family][0].from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(wave_BT[0].numpy(), sampling_rate=16000, return_tensors="pt")
    output = model(**inputs, output_hidden_states=True)

    layers = HuggingFace(checkpoint=str(folder)).eval()(wave_BT, torch.tensor([12345])).layers
    assert len(layers) == len(output.hidden_states) == 5
    for layer, expected in zip(layers, (*output.hidden_states[:-1], output.last_hidden_state), strict=True):
        torch.testing.assert_close(layer, expected[:, : layer.shape[1]], rtol=1e-3, atol=1e-3)
    if getattr(model.config, "do_stable_layer_norm", False):
        assert not torch.allclose(layers[-1], output.hidden_states[-1], atol=1e-2)


@torch.no_grad()
def test_without_masks_group_norm_models_depend_on_padding(checkpoints: dict[str, Path]) -> None:
    """The fault we mend is still there in transformers; once it is not, `MaskedFirstConv` can go."""
    model = FAMILIES["hubert_base"][0].from_pretrained(checkpoints["hubert_base"]).eval()
    short, mask = noise(8000), torch.ones(1, 20000).long()
    padded, mask[:, 8000:] = torch.nn.functional.pad(short, (0, 12000)), 0
    alone = model(short).last_hidden_state
    together = model(padded, attention_mask=mask).last_hidden_state[:, : alone.shape[1]]
    assert (together - alone).norm() / alone.norm() > 0.1


@pytest.mark.parametrize("family", ["hubert_base", "wav2vec2_base", "wavlm_base"])
def test_parameter_names_stay_those_of_transformers(family: str, checkpoints: dict[str, Path]) -> None:
    upstream = HuggingFace(checkpoint=str(checkpoints[family]))
    names = {name.removeprefix("model.") for name in upstream.state_dict()}
    model = FAMILIES[family][0].from_pretrained(checkpoints[family])
    assert names == set(model.state_dict()) - {"masked_spec_embed"}


@pytest.mark.parametrize("family", ["hubert_base", "w2v_bert"])
def test_gradient_checkpointing_gives_the_same_gradients(family: str, checkpoints: dict[str, Path]) -> None:
    upstream = HuggingFace(checkpoint=str(checkpoints[family])).train()
    for module in upstream.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):  # attention
            module.dropout = 0.0
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            upstream.model.activation_checkpointing_enable()
        upstream.zero_grad()
        # Two forwards before one backward, as the lengths must be each its own.
        losses = [
            sum(layer.square().sum() for layer in upstream(noise(8000), torch.tensor([n])).layers) for n in (8000, 5000)
        ]
        sum(losses).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in upstream.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()))


def test_frozen_front_builds_no_graph(checkpoints: dict[str, Path]) -> None:
    upstream = HuggingFace(checkpoint=str(checkpoints["hubert_base"])).train()
    upstream.requires_grad_(False)
    assert not upstream(noise(4000), torch.tensor([4000])).layers[-1].requires_grad


@pytest.mark.parametrize("do_normalize", [True, False])
def test_do_normalize_of_the_preprocessor_is_obeyed(do_normalize: bool, tmp_path: Path) -> None:
    save(tmp_path, transformers.HubertModel(FAMILIES["hubert_large"][1]), do_normalize=do_normalize)
    with torch.no_grad():
        upstream = HuggingFace(checkpoint=str(tmp_path)).eval()
        plain, shifted = (upstream(noise(6000) + offset, torch.tensor([6000])).layers[0] for offset in (0.0, 0.3))
    assert torch.allclose(plain, shifted, atol=1e-3) is do_normalize
    assert upstream.record()["do_normalize"] is do_normalize


def test_normalisation_can_be_asked_for(checkpoints: dict[str, Path]) -> None:
    """For a checkpoint without a preprocessor file, of which it is known otherwise."""
    upstream = HuggingFace(checkpoint=str(checkpoints["hubert_base"]), normalise=True)
    assert upstream.normalise is upstream.input.normalise is True
    assert upstream.record()["do_normalize_source"] == "upstream.normalise"
    with pytest.raises(
        ValueError, match=r"upstream\.normalise=False: .* reads normalised log-mels, no waves; leave it out"
    ):
        HuggingFace(checkpoint=str(checkpoints["w2v_bert"]), normalise=False)


@pytest.mark.parametrize(("family", "expected"), [("hubert_base", False), ("xls_r", True), ("w2v_bert", False)])
def test_without_a_preprocessor_file_the_rule_decides_and_is_recorded(
    family: str, expected: bool, checkpoints: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(checkpoints[family] / name, tmp_path)
    with caplog.at_level(logging.INFO, logger="mlsuperb.upstreams.huggingface"):
        record = HuggingFace(checkpoint=str(tmp_path)).record()
    assert record["do_normalize"] is expected
    source = "log-mels" if family == "w2v_bert" else "no preprocessor_config.json"
    assert source in record["do_normalize_source"]
    assert source in caplog.text


def test_record_says_what_was_loaded(checkpoints: dict[str, Path]) -> None:
    folder = checkpoints["xls_r"]
    record = HuggingFace(checkpoint=str(folder), revision="v1").record()
    model = transformers.Wav2Vec2Model.from_pretrained(folder)
    assert record == {
        "checkpoint": str(folder),
        "revision": "v1",
        "commit": None,
        "sha256": {"model.safetensors": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()},
        "config": config_digest(json.loads((folder / "config.json").read_text())),
        "do_normalize": True,
        "do_normalize_source": "preprocessor_config.json",
        "num_parameters": model.num_parameters() - model.config.hidden_size,  # without masked_spec_embed
        "dtype": "float32",
    }


@pytest.mark.parametrize("head", ["HubertForCTC", "Wav2Vec2ForPreTraining", "Wav2Vec2ForCTC", "WavLMForCTC"])
def test_a_checkpoint_with_a_head_gives_its_base_model(head: str, tmp_path: Path) -> None:
    family = {"Hubert": "hubert_large", "Wav2Ve": "xls_r", "WavLMF": "wavlm_large"}[head[:6]]
    model = getattr(transformers, head)(FAMILIES[family][1])
    save(tmp_path, model, do_normalize=True)
    upstream = HuggingFace(checkpoint=str(tmp_path))
    expected = model.base_model.state_dict()
    found = upstream.model.state_dict()
    assert len(found) == len(expected) - 1
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_half_precision_files_are_read_as_fp32(tmp_path: Path) -> None:
    save(tmp_path, transformers.HubertModel(FAMILIES["hubert_base"][1]).half(), do_normalize=False)
    assert HuggingFace(checkpoint=str(tmp_path)).record()["dtype"] == "float32"


def test_pickled_weights_and_their_old_weight_norm_names(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """As most published checkpoints are: pytorch_model.bin with weight_g and weight_v."""
    folder = checkpoints["hubert_base"]
    weights = load_file(folder / "model.safetensors")
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for name, value in weights.items():
        for new_name, old_name in old.items():
            name = name.replace(new_name, old_name)
        renamed[name] = value
    assert sum(name.endswith(("weight_g", "weight_v")) for name in renamed) == 2
    torch.save(renamed, tmp_path / "pytorch_model.bin")
    shutil.copy(folder / "config.json", tmp_path)
    found = HuggingFace(checkpoint=str(tmp_path)).state_dict()
    expected = HuggingFace(checkpoint=str(folder)).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def _without(weights: dict, *parts: str) -> dict:
    return {name: value for name, value in weights.items() if not any(part in name for part in parts)}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: _without(w, "layers.2."), "missing.*encoder.layers.2.attention"),
        (lambda w: {f"student.{name}": value for name, value in w.items()}, "missing"),
        (lambda w: {**w, "encoder.layers.9.attention.k_proj.weight": torch.zeros(2)}, "unknown.*layers.9"),
        (lambda w: {**w, "feature_projection.projection.bias": torch.zeros(7)}, "another shape.*projection.bias"),
    ],
)
def test_foreign_weights_are_named(damage: object, message: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(checkpoints["hubert_base"], tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(damage(weights), tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        HuggingFace(checkpoint=str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "whisper"}, "'whisper'; supported are hubert, wav2vec2, wavlm, wav2vec2-bert"),
        ({"model_type": "nobody_knows"}, "'nobody_knows'; supported"),
        ({"add_adapter": True}, "add_adapter"),
        ({"conv_pos_batch_norm": True}, "conv_pos_batch_norm"),
    ],
)
def test_other_models_are_refused(changes: dict, message: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(checkpoints["hubert_base"], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        HuggingFace(checkpoint=str(tmp_path))
    assert len(HuggingFace.problems(checkpoint=str(tmp_path))) == 1


def test_other_sampling_rates_are_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(checkpoints["hubert_base"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "preprocessor_config.json").write_text('{"sampling_rate": 8000}', encoding="utf-8")
    with pytest.raises(ValueError, match="8000 Hz"):
        HuggingFace(checkpoint=str(tmp_path))


def test_a_missing_folder_and_an_empty_one(tmp_path: Path) -> None:
    for checkpoint in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(ValueError, match=r"is not a folder|no config.json"):
            HuggingFace(checkpoint=str(checkpoint))
        assert "hf download" in HuggingFace.problems(checkpoint=str(checkpoint))[0]


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"nobody/nothing.*hf download.*HF_HOME"):
        HuggingFace(checkpoint="nobody/nothing")
    assert "HF_HUB_OFFLINE" in HuggingFace.problems(checkpoint="nobody/nothing")[0]


def test_the_commit_of_a_hub_checkpoint_is_recorded(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """From a cache as `hf download` leaves it, without network and without a preprocessor file."""
    commit, repository = "0123456789abcdef0123456789abcdef01234567", tmp_path / "hub" / "models--owner--name"
    for folder in (repository / "refs", repository / "snapshots" / commit):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(checkpoints["xls_r"] / name, repository / "snapshots" / commit)
    script = (
        "import json; from mlsuperb.upstreams.huggingface import HuggingFace as H; "
        "print(json.dumps([H.problems(checkpoint='owner/name'), H(checkpoint='owner/name').record()]))"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    problems, record = json.loads(run.stdout)
    assert problems == []
    assert (record["commit"], record["revision"], record["sha256"]) == (commit, "main", None)
    assert record["do_normalize"] is True
    assert "no preprocessor_config.json" in record["do_normalize_source"]


def test_a_good_folder_has_no_problems(checkpoints: dict[str, Path]) -> None:
    assert HuggingFace.problems(checkpoint=str(checkpoints["xls_r"]), revision="main", dropout_while_frozen=False) == []
