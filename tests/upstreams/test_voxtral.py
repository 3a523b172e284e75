"""Voxtral's encoder against transformers' own, out of a checkpoint in several files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import VoxtralForConditionalGeneration, WhisperFeatureExtractor

from mlsuperb.upstreams.base import same_record
from mlsuperb.upstreams.voxtral import Voxtral
from mlsuperb.upstreams.whisper import Whisper


def noise(num_samples: int, *, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed)) + 0.02


@pytest.fixture(scope="module")
def whole(checkpoints: dict[str, Path]) -> VoxtralForConditionalGeneration:
    return VoxtralForConditionalGeneration.from_pretrained(checkpoints["voxtral"]).eval()


@pytest.fixture(scope="module")
def sharded(whole: VoxtralForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Voxtral lies on the hub: several files and an index; the encoder is in some of them."""
    folder = tmp_path_factory.mktemp("sharded")
    whole.save_pretrained(folder, max_shard_size="8KB")
    return folder


def files_of(folder: Path, *, prefix: str) -> set[str]:
    names = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    return {file for name, file in names.items() if name.startswith(prefix)}


def same_weights(upstream: Voxtral, whole: VoxtralForConditionalGeneration) -> bool:
    expected = whole.model.audio_tower.layers.state_dict()
    found = upstream.model.layers.state_dict()
    return found.keys() == expected.keys() and all(torch.equal(value, expected[name]) for name, value in found.items())


@torch.no_grad()
@pytest.mark.parametrize("num_samples", [480_000, 100_001])
def test_padded_to_30s_equals_the_original(
    num_samples: int, whole: VoxtralForConditionalGeneration, checkpoints: dict[str, Path]
) -> None:
    """Alone and beside a longer one."""
    wave_BT = torch.nn.functional.pad(noise(num_samples)[None], (0, 480_000 - num_samples)).repeat(2, 1)
    wave_BT[1] = noise(480_000, seed=1)
    mels = WhisperFeatureExtractor(feature_size=128)(
        wave_BT[0, :num_samples].numpy(), sampling_rate=16000, return_tensors="pt"
    )
    expected = whole.model.audio_tower(mels.input_features, output_hidden_states=True)
    layers = (*expected.hidden_states[:-1], expected.last_hidden_state)
    upstream = Voxtral(checkpoint=str(checkpoints["voxtral"]), pad_to_30s=True).eval()
    found = upstream(wave_BT, torch.tensor([num_samples, 480_000]))
    frames = -(-(num_samples // 160) // 2)
    assert found.lengths_B.tolist() == [frames, 1500]
    assert len(found.layers) == len(layers) == 5
    for layer, other in zip(found.layers, layers, strict=True):
        torch.testing.assert_close(layer[0, :frames], other[0, :frames], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", ["", "model", "model.audio_tower"])
def test_every_wrapping_of_the_encoder_is_read(
    part: str, whole: VoxtralForConditionalGeneration, tmp_path: Path
) -> None:
    whole.get_submodule(part).save_pretrained(tmp_path)
    upstream = Voxtral(checkpoint=str(tmp_path))
    assert same_weights(upstream, whole)
    assert Voxtral.depth({"checkpoint": str(tmp_path)}) == upstream.num_layers - 1 == 4
    assert torch.equal(upstream.front.positions_FD, whole.model.audio_tower.embed_positions.weight)


def test_of_a_sharded_folder_only_the_encoders_files_are_needed(
    sharded: Path, whole: VoxtralForConditionalGeneration, tmp_path: Path
) -> None:
    needed, all_files = files_of(sharded, prefix="audio_tower."), files_of(sharded, prefix="")
    assert len(needed) < len(all_files)
    shutil.copytree(sharded, tmp_path, dirs_exist_ok=True)
    before = Voxtral(checkpoint=str(tmp_path)).record()
    assert before["sha256"].keys() == needed
    for file in all_files - needed:
        (tmp_path / file).unlink()
    upstream = Voxtral(checkpoint=str(tmp_path))
    assert same_weights(upstream, whole)
    assert upstream.record() == before
    older = {**before, "sha256": {**before["sha256"], "model-00009-of-00009.safetensors": "0" * 64}}
    assert same_record(older, before)
    assert not same_record({**older, "sha256": dict.fromkeys(older["sha256"], "0" * 64)}, before)
    assert upstream.record()["checkpoint"] == str(tmp_path)
    gone = sorted(needed)[0]
    (tmp_path / gone).unlink()
    with pytest.raises(ValueError, match=rf"has no {gone}, which holds weights of the model"):
        Voxtral(checkpoint=str(tmp_path))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            {"weight_map": {"audio_tower.conv1.bias": "../elsewhere.safetensors", "a": "b"}},
            "which is no file beside it",
        ),
        ({"weight_map": []}, "no model can be made"),
        ({}, "no model can be made"),
    ],
)
def test_an_index_that_is_none_is_refused(index: Any, message: str, sharded: Path, tmp_path: Path) -> None:
    shutil.copytree(sharded, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=message):
        Voxtral(checkpoint=str(tmp_path))


def test_of_the_hub_only_the_encoders_files_are_fetched(
    sharded: Path, whole: VoxtralForConditionalGeneration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a cache without network that holds no other weights."""
    commit, repository = "0123456789abcdef0123456789abcdef01234567", tmp_path / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(sharded, repository / "snapshots" / commit)
    for file in files_of(sharded, prefix="") - files_of(sharded, prefix="audio_tower."):
        (repository / "snapshots" / commit / file).unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    upstream = Voxtral(checkpoint="owner/name")
    assert same_weights(upstream, whole)
    assert upstream.record()["commit"] == commit
    (repository / "snapshots" / commit / sorted(files_of(sharded, prefix="audio_tower."))[0]).unlink()
    with pytest.raises(ValueError, match=r"owner/name \(0123456789abcdef.*could not be loaded"):
        Voxtral(checkpoint="owner/name")


def test_the_right_upstream_is_named(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"'voxtral'.*Use upstream=voxtral"):
        Whisper(checkpoint=str(checkpoints["voxtral"]))
    with pytest.raises(
        ValueError, match=r"'whisper'; supported are voxtral, voxtral_encoder \(Voxtral\).*Use upstream=whisper"
    ):
        Voxtral(checkpoint=str(checkpoints["whisper"]))
