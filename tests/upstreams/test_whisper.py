"""Whisper's encoder against transformers' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import SUPERVISED, save
from transformers import (
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
    WhisperForConditionalGeneration,
    WhisperModel,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.seamless import SeamlessM4T
from mlsuperb.upstreams.whisper import Whisper, WhisperInput


def noise(num_samples: int, *, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, num_samples, generator=torch.Generator().manual_seed(seed)) + 0.02


def original_layers(model: WhisperForConditionalGeneration, wave_BT: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """transformers' layers of a wave in [0, 30] s, padded to 30 s."""
    extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    inputs = extractor(wave_BT[0].numpy(), sampling_rate=16000, return_tensors="pt")
    assert inputs.input_features.shape[-1] == 3000
    with torch.no_grad():
        return model.model.encoder(**inputs, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("num_samples", [480_000, 100_001, 801])
def test_padded_to_30s_equals_the_original(num_samples: int, checkpoints: dict[str, Path]) -> None:
    folder, wave_BT = checkpoints["whisper"], noise(num_samples)
    expected = original_layers(WhisperForConditionalGeneration.from_pretrained(folder).eval(), wave_BT)
    with torch.no_grad():
        found = Whisper(checkpoint=str(folder), pad_to_30s=True).eval()(wave_BT, torch.tensor([num_samples]))
    num_frames = -(-(num_samples // 160) // 2)
    assert found.lengths_B.tolist() == [num_frames]
    assert len(found.layers) == len(expected) == 5
    for layer, other in zip(found.layers, expected, strict=True):
        torch.testing.assert_close(layer, other[:, :num_frames], rtol=1e-5, atol=1e-5)


def test_30_seconds_are_the_original_without_padding_too(checkpoints: dict[str, Path]) -> None:
    folder, wave_BT = checkpoints["whisper"], noise(480_000)
    expected = original_layers(WhisperForConditionalGeneration.from_pretrained(folder).eval(), wave_BT)
    with torch.no_grad():
        found = Whisper(checkpoint=str(folder)).eval()(wave_BT, torch.tensor([480_000]))
    for layer, other in zip(found.layers, expected, strict=True):
        torch.testing.assert_close(layer, other, rtol=1e-5, atol=1e-5)


def test_short_audio_equals_an_original_with_fewer_positions(checkpoints: dict[str, Path]) -> None:
    """transformers' encoder, cut to the positions of 2 s: what "no padding" means."""
    folder, wave_BT = checkpoints["whisper"], noise(32_000)
    encoder = WhisperForConditionalGeneration.from_pretrained(folder).eval().model.encoder
    encoder.embed_positions = torch.nn.Embedding.from_pretrained(encoder.embed_positions.weight[:100].detach())
    encoder.config.max_source_positions = 100
    mels = WhisperFeatureExtractor()(wave_BT[0].numpy(), sampling_rate=16000, return_tensors="pt", padding="longest")
    with torch.no_grad():
        expected = encoder(mels.input_features, output_hidden_states=True).hidden_states
        found = Whisper(checkpoint=str(folder)).eval()(wave_BT, torch.tensor([32_000])).layers
    for layer, other in zip(found, expected, strict=True):
        torch.testing.assert_close(layer, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pad_to_30s", [False, True])
def test_long_audio_is_encoded_in_pieces(pad_to_30s: bool, checkpoints: dict[str, Path]) -> None:
    """Of 0.6 s here; each is what comes of its part of the utterance's log-mels alone."""
    upstream = Whisper(checkpoint=str(checkpoints["whisper_pieces"]), pad_to_30s=pad_to_30s).eval()
    wave_BT, lengths_B = noise(3 * 9600 - 1000), torch.tensor([3 * 9600 - 1000])
    found = upstream(wave_BT, lengths_B)
    frames_B = upstream.num_frames(lengths_B)
    assert found.lengths_B.tolist() == frames_B.tolist() == [87]
    mels, mel_frames = upstream.input(wave_BT, lengths_B)
    for piece in range(3):
        part = mels[:, 60 * piece : 60 * (piece + 1)]
        count = min(60, int(mel_frames) - 60 * piece)
        hidden = upstream.front(part, torch.tensor([count]))
        expected = upstream._encode_pieces(hidden, torch.tensor([(count + 1) // 2]))
        frames = 30 if piece < 2 else 27
        for layer, other in zip(found.layers, expected, strict=True):
            torch.testing.assert_close(layer[:, 30 * piece : 30 * piece + frames], other[:, :frames])


@pytest.mark.parametrize("num_mels", [80, 128])
@pytest.mark.parametrize("length", [16000, 15999, 4321, 230, 480_000])
def test_log_mels_equal_the_extractor(num_mels: int, length: int) -> None:
    wave_BT = torch.zeros(2, length + 5000)
    wave_BT[0, :length], wave_BT[1] = noise(length)[0], 20 * noise(length + 5000, seed=1)[0]
    extractor = WhisperFeatureExtractor(feature_size=num_mels)
    arguments = {"sampling_rate": 16000, "return_tensors": "pt"}
    expected = extractor(wave_BT[0, :length].numpy(), padding="longest", **arguments).input_features[0].T
    found, frames_B = WhisperInput(num_mels=num_mels, pad_to_frames=None)(
        wave_BT, torch.tensor([length, length + 5000])
    )
    assert frames_B[0] == len(expected)
    torch.testing.assert_close(found[0, : len(expected)], expected, rtol=0, atol=5e-5)
    assert found[0, len(expected) :].abs().sum() == 0

    expected = extractor(wave_BT[0, :length].numpy(), **arguments).input_features[0].T
    found, _ = WhisperInput(num_mels=num_mels, pad_to_frames=3000)(wave_BT, torch.tensor([length, length + 5000]))
    torch.testing.assert_close(found[0, :3000], expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("model_class", [WhisperModel, WhisperForAudioClassification, WhisperEncoder])
def test_other_wrappings_of_the_encoder_are_read(model_class: type, tmp_path: Path) -> None:
    model = model_class(SUPERVISED["whisper"][1])
    save(tmp_path, model, do_normalize=None)
    encoder = model if model_class is WhisperEncoder else model.encoder
    found = Whisper(checkpoint=str(tmp_path)).model.layers.state_dict()
    expected = encoder.layers.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_record_and_positions_that_are_no_parameter(checkpoints: dict[str, Path]) -> None:
    upstream = Whisper(checkpoint=str(checkpoints["whisper"]), revision="v1")
    record = upstream.record()
    assert set(record) == {"checkpoint", "revision", "commit", "sha256", "config", "num_parameters", "dtype"}
    assert set(record["sha256"]) == {"model.safetensors"}
    original = WhisperEncoder(SUPERVISED["whisper"][1])
    assert record["num_parameters"] == original.num_parameters() - original.embed_positions.weight.numel()
    assert not any("positions" in name for name, _ in upstream.named_parameters())


def test_gradient_checkpointing_gives_the_same_gradients(checkpoints: dict[str, Path]) -> None:
    upstream = Whisper(checkpoint=str(checkpoints["whisper"])).train()
    for module in upstream.modules():
        if isinstance(getattr(module, "p", None), float):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            upstream.model.activation_checkpointing_enable()
        upstream.zero_grad()
        sum(layer.square().sum() for layer in upstream(noise(8000), torch.tensor([8000])).layers).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in upstream.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize(
    ("reader", "family", "message"),
    [
        (HuggingFace, "whisper", r"'whisper'.*Use upstream=whisper"),
        (SeamlessM4T, "whisper", r"'whisper'.*Use upstream=whisper"),
        (Whisper, "hubert_base", r"'hubert'.*Use upstream=hf"),
        (Whisper, "seamless_v2", r"'seamless_m4t_v2'.*Use upstream=seamless_m4t"),
    ],
)
def test_the_right_upstream_is_named(reader: type, family: str, message: str, checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=message):
        reader(checkpoint=str(checkpoints[family]))
    assert len(reader.problems(checkpoint=str(checkpoints[family]))) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: {k: v for k, v in w.items() if "encoder.layers.2." not in k}, r"missing.*layers\.2"),
        (lambda w: {**w, "model.encoder.layers.9.fc1.weight": torch.zeros(2)}, r"unknown.*layers\.9"),
        (lambda w: {**w, "model.encoder.conv1.bias": torch.zeros(7)}, r"another shape.*conv1\.bias"),
    ],
)
def test_foreign_weights_are_named(damage: object, message: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(checkpoints["whisper"], tmp_path, dirs_exist_ok=True)
    weights = damage(load_file(tmp_path / "model.safetensors"))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        Whisper(checkpoint=str(tmp_path))


def test_a_missing_config_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({}), encoding="utf-8")
    assert "None" in Whisper.problems(checkpoint=str(tmp_path))[0]
    assert "hf download" in Whisper.problems(checkpoint=str(tmp_path / "nowhere"))[0]
