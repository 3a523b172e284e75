"""XEUS and PhoneticXeus. That they compute what ESPnet's classes do is checked by `scripts/parity/xeus.py`."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny_xeus import CONFIG, weights, write_xeus

from mlsuperb.config.compose import compose
from mlsuperb.heads.featurizer import OneLayer, WeightedSum
from mlsuperb.layers.positions import ConvolutionalPositions
from mlsuperb.upstreams.xeus import PhoneticXeus, Xeus, XeusEncoder, XeusStack
from mlsuperb.upstreams.xeus_files import SHAPES, read_settings

AUTHORS = {"input_layer": False, "final_norm": False}


def noise(num_samples: int = 16_000, *, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, num_samples, generator=torch.Generator().manual_seed(seed)) + 0.02


@torch.no_grad()
def layers(upstream: XeusStack) -> list[torch.Tensor]:
    return list(upstream.eval()(noise(), torch.tensor([16_000])).layers)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The configuration with one setting changed."""
    config = deepcopy(CONFIG)
    *groups, name = path.split(".")
    node = config
    for group in groups:
        node = node[group]
    node[name] = value
    return config


def test_its_authors_layers_are_those_of_the_blocks(checkpoints: dict[str, Path]) -> None:
    folder = str(checkpoints["xeus"])
    whole, authors = Xeus(checkpoint=folder), Xeus(checkpoint=folder, **AUTHORS)
    expected, found = layers(whole), layers(authors)
    assert (whole.num_layers, authors.num_layers, len(found)) == (5, 4, 4)
    assert all(torch.equal(*pair) for pair in zip(found[:3], expected[1:4], strict=True))
    torch.testing.assert_close(whole.model.final_norm(found[3]), expected[4])
    assert not torch.allclose(found[3], expected[4], atol=1e-2)
    assert set(dict(whole.named_parameters())) - set(dict(authors.named_parameters())) == {
        "model.final_norm.weight", "model.final_norm.bias"
    }  # fmt: skip


def test_sum_and_single_layer_count_what_comes_out(checkpoints: dict[str, Path]) -> None:
    """Before weights are read, and after: the sum has as many terms as there are layers, and there is no layer 4."""
    settings = {"checkpoint": str(checkpoints["xeus"]), **AUTHORS}
    assert (Xeus.depth(settings), Xeus.layer_count(settings)) == (4, 4)
    assert Xeus.layer_count({**settings, "input_layer": True}) == 5
    assert Xeus.layer_count({"checkpoint": "espnet/xeus"}) is None
    upstream = Xeus(**settings)
    assert len(WeightedSum(num_layers=upstream.num_layers, layer_size=256).weights) == 4
    assert OneLayer.layer_problems(Xeus.layer_count(settings), layer=3) == []
    assert "returns 4 layers" in OneLayer.layer_problems(Xeus.layer_count(settings), layer=4)[0]


def test_the_check_before_a_run_counts_layers_and_blocks(checkpoints: dict[str, Path]) -> None:
    from mlsuperb.config.check import find_problems

    words = ["upstream=xeus", f"upstream.checkpoint={checkpoints['xeus']}", "~upstream.card", "featurizer=one_layer"]
    assert find_problems(compose([*words, "featurizer.layer=3"])) == []
    (problem,) = find_problems(compose([*words, "featurizer.layer=4"]))
    assert "featurizer.layer is 4, but this upstream returns 4 layers" in problem
    assert find_problems(compose([*words, "featurizer.layer=4", "upstream.input_layer=true"])) == []
    blocks = [*words, "featurizer.layer=0", "adaptation=partial"]
    assert find_problems(compose([*blocks, "adaptation.layers=4"])) == []  # blocks count from 1, whatever comes out
    assert "this upstream has 4 Transformer blocks" in find_problems(compose([*blocks, "adaptation.layers=5"]))[0]


@torch.no_grad()
def test_positions_take_the_place_of_frames() -> None:
    """A kernel that looks at one frame, 64 back to 63 ahead: what comes out is that frame's alone."""
    positions = ConvolutionalPositions(4, kernel=128, groups=2)
    direction, size = (getattr(positions.conv.parametrizations.weight, f"original{i}") for i in (1, 0))
    direction.fill_(1.0)
    direction[..., 64] = torch.tensor([1.0, 0.0])
    size.zero_()
    size[..., 64] = 2.0  # over the 4 filters: 1 each
    frames_1F4 = torch.randn(1, 9, 4)
    found = positions(frames_1F4, torch.tensor([9]))
    expected = torch.nn.functional.gelu(frames_1F4[..., [0, 0, 2, 2]])
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_each_wave_is_normalised_over_its_own_samples(checkpoints: dict[str, Path]) -> None:
    upstream = Xeus(checkpoint=str(checkpoints["xeus"])).eval()
    wave_BT, lengths_B = noise(), torch.tensor([16_000])
    expected = upstream(wave_BT, lengths_B).layers[-1]
    torch.testing.assert_close(upstream(3.0 * wave_BT - 1.0, lengths_B).layers[-1], expected, rtol=1e-3, atol=1e-3)
    normed = torch.nn.functional.layer_norm(wave_BT, wave_BT.shape)
    torch.testing.assert_close(upstream(normed, lengths_B).layers[-1], expected, rtol=1e-3, atol=1e-3)


def test_what_only_pre_training_needs_is_not_kept(checkpoints: dict[str, Path]) -> None:
    plain = Xeus(checkpoint=str(checkpoints["xeus"]))
    assert plain.mask_embedding_D is None
    kept = Xeus(checkpoint=str(checkpoints["xeus"]), regularisation="mask_embedding")
    assert torch.equal(kept.mask_embedding_D.data, weights()["util_modules.mask.mask_embedding"])
    assert not [name for name in kept.state_dict() if "loss" in name or "step" in name]
    record = plain.record()
    assert set(record["sha256"]) == {"xeus_checkpoint_new.pth"}  # not the one with older names beside it
    assert (record["input_layer"], record["final_norm"]) == (True, True)
    with pytest.raises(ValueError, match=r"changelinglab|no embedding of masked frames"):
        PhoneticXeus(checkpoint=str(checkpoints["phonetic_xeus"]), regularisation="mask_embedding")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("frontend", "default", "frontend='default'"),
        ("normalize", "utterance_mvn", "normalize='utterance_mvn'"),
        ("preencoder", None, "preencoder=None"),
        ("preencoder_conf.output_size", 128, r"preencoder_conf\.output_size=128, encoder_conf\.output_size=256"),
        ("frontend_conf.norm_mode", "group_norm", "norm_mode='group_norm'"),
        ("frontend_conf.normalize_audio", False, "normalize_audio=False"),
        ("frontend_conf.normalize_output", True, "normalize_output=True"),
        ("encoder_conf.pos_enc_layer_type", "abs_pos", "pos_enc_layer_type='abs_pos'"),
        ("encoder_conf.input_layer", "conv2d", "input_layer='conv2d'"),
        ("encoder_conf.gate_activation", "relu", "gate_activation='relu'"),
    ],
)
def test_other_models_are_refused(path: str, value: Any, message: str, tmp_path: Path) -> None:
    folder = write_xeus(tmp_path / "xeus", config=changed(path, value))
    with pytest.raises(ValueError, match=message):
        Xeus(checkpoint=str(folder))
    assert len(Xeus.problems(checkpoint=str(folder))) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda w: {name: value for name, value in w.items() if "embed" not in name},
            r"missing \(encoder\.embed\.0\.convs\.0\.bias",
        ),
        (
            lambda w: {**w, "encoder.encoders.9.norm_ff.bias": torch.zeros(3)},
            r"1 unknown \(encoder\.encoders\.9\.norm_ff",
        ),
        (
            lambda w: {**w, "frontend.layers.0.conv.bias": torch.zeros(3)},
            r"another shape \(frontend\.layers\.0\.conv\.bias",
        ),
    ],
)
def test_foreign_weights_are_named(damage: Any, message: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["xeus"], tmp_path / "xeus")
    torch.save(damage(weights()), folder / "model" / "xeus_checkpoint_new.pth")
    with pytest.raises(ValueError, match=message):
        Xeus(checkpoint=str(folder))


def test_a_missing_file_is_named(checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is not a folder" in Xeus.problems(checkpoint=str(tmp_path / "nowhere"))[0]
    assert "neither config.yaml nor meta.yaml" in Xeus.problems(checkpoint=str(tmp_path))[0]
    assert "no config.json and no model.safetensors" in PhoneticXeus.problems(checkpoint=str(tmp_path))[0]
    folder = shutil.copytree(checkpoints["phonetic_xeus"], tmp_path / "phonetic")
    shutil.rmtree(folder / "pxeus")
    assert "config.json is not PhoneticXeus's" in PhoneticXeus.problems(checkpoint=str(folder))[0]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in Xeus.problems(checkpoint="espnet/xeus")[0]
    assert "HF_HUB_OFFLINE" in PhoneticXeus.problems(checkpoint="changelinglab/PhoneticXeus")[0]
    with pytest.raises(ValueError, match=r"espnet/nothing.*could not be read.*hf download"):
        Xeus(checkpoint="espnet/nothing")


@torch.no_grad()
def test_phonetic_xeus_gives_its_posteriors_back(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """Behind the blocks that config.json names, or those of its class (4, 8, 12) where it names none; no code of it is run."""
    folder = shutil.copytree(checkpoints["phonetic_xeus"], tmp_path / "phonetic")
    (folder / "modeling_phoneticxeus.py").write_text("raise RuntimeError('run')", encoding="utf-8")
    upstream = PhoneticXeus(checkpoint=str(folder))
    assert upstream.model.conditioning.after == {1, 3}
    assert (upstream.num_layers, upstream.frame_rate_hz) == (5, 50.0)
    expected = layers(upstream)
    upstream.model.conditioning = None
    plain = layers(upstream)
    assert [torch.allclose(*pair) for pair in zip(plain, expected, strict=True)] == [True, True, False, False, False]
    saved = load_file(folder / "model.safetensors")
    posteriors = {name: value for name, value in saved.items() if "ctc_lo" in name}
    save_file({name: value for name, value in saved.items() if name not in posteriors}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"2 missing \(ctc\.ctc_lo\.bias, ctc\.ctc_lo\.weight\)"):
        PhoneticXeus(checkpoint=str(folder))
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del about["interctc_layer_idx"]
    (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")
    assert PhoneticXeus.find(str(folder), revision="main").conditioned_after == (4, 8, 12)


@pytest.mark.parametrize(
    ("name", "stack", "further"),
    [
        ("xeus", {"input_layer": False}, {"final_norm": False}),
        ("phonetic_xeus", {}, {"conditioned_after": [4, 8, 12], "vocab_size": 428}),
    ],
)
def test_published_sizes(name: str, stack: dict[str, Any], further: dict[str, Any]) -> None:
    """XEUS has 577 M with the heads of its loss (768 features, 2,048 classes) and the embedding of masked frames."""
    sizes = {"output_size": 1024, "attention_heads": 8, "cgmlp_linear_units": 4096, "linear_units": 4096}
    sizes |= {"cgmlp_conv_kernel": 31, "merge_conv_kernel": 31, "num_blocks": 19}
    config = {**CONFIG, "encoder_conf": {**CONFIG["encoder_conf"], **sizes}, "preencoder_conf": {"output_size": 1024}}
    del (config := {**config, "frontend_conf": dict(config["frontend_conf"])})["frontend_conf"]["shapes"]
    settings = read_settings(config)
    assert settings.problem is None
    assert settings.encoder["shapes"] == SHAPES
    with torch.device("meta"):
        upstream = XeusStack(XeusEncoder(**settings.encoder, **further), **stack)
    card = compose([f"upstream={name}"])["upstream"]["card"]
    told = (card["layers"], card["size"], card["frame_rate_hz"])
    assert (upstream.num_layers, upstream.layer_size, upstream.frame_rate_hz) == told
    count = sum(parameter.numel() for parameter in upstream.parameters())
    assert count / 1e6 == pytest.approx(card["params_m"], abs=0.05)
    if name == "xeus":
        whole = count + 2 * 1024 + 1024 + (1024 + 1) * 768 + (768 + 1) * 2048
        assert whole / 1e6 == pytest.approx(577, abs=0.6)


def test_the_configuration_is_plain_yaml(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["xeus"], tmp_path / "xeus")
    config = folder / "model" / "config.yaml"
    assert yaml.safe_load(config.read_text(encoding="utf-8"))["frontend"] == "wav2vec_cnn"
    config.write_text("x: !!python/object/apply:os.system ['true']", encoding="utf-8")
    with pytest.raises(ValueError, match="plain YAML"):
        Xeus(checkpoint=str(folder))
