"""SeamlessM4T's Conformer against transformers' own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import SUPERVISED
from transformers import SeamlessM4TFeatureExtractor

from mlsuperb.upstreams.seamless import SeamlessM4T

FAMILIES = ["seamless_v1", "seamless_v2"]


def noise(num_samples: int, *, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, num_samples, generator=torch.Generator().manual_seed(seed)) + 0.02


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_samples", [12_345, 30_000])  # v1's table of positions has room for 64 frames at first
def test_layers_are_those_of_transformers(family: str, num_samples: int, checkpoints: dict[str, Path]) -> None:
    folder, wave_BT = checkpoints[family], noise(num_samples)
    model = SUPERVISED[family][0].from_pretrained(folder).eval().speech_encoder
    seen = {}
    model.encoder.layers[0].register_forward_pre_hook(lambda _, inputs: seen.update(first=inputs[0]))
    model.encoder.register_forward_hook(lambda _, inputs, output: seen.update(last=output))
    inputs = SeamlessM4TFeatureExtractor()(wave_BT[0].numpy(), sampling_rate=16000, return_tensors="pt")
    hidden_states = model(**inputs, output_hidden_states=True).hidden_states
    # the trap: the length adaptor's, not the last block's
    assert hidden_states[-1].shape[1] < hidden_states[0].shape[1]
    expected = (seen["first"], *hidden_states[1:-1], seen["last"])

    found = SeamlessM4T(checkpoint=str(folder)).eval()(wave_BT, torch.tensor([num_samples])).layers
    assert len(found) == len(expected) == 5
    for layer, other in zip(found, expected, strict=True):
        torch.testing.assert_close(layer, other[:, : layer.shape[1]], rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_batch_norm_never_drifts(checkpoints: dict[str, Path]) -> None:
    upstream = SeamlessM4T(checkpoint=str(checkpoints["seamless_v1"])).eval()
    before = {name: value.clone() for name, value in upstream.named_buffers()}
    assert sum("running_" in name for name in before) == 8
    expected = upstream(noise(8000), torch.tensor([8000])).layers[-1]
    for module in upstream.train().modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    found = upstream(noise(8000), torch.tensor([8000])).layers[-1]
    torch.testing.assert_close(found, expected)
    assert all(torch.equal(value, before[name]) for name, value in upstream.named_buffers())


@torch.no_grad()
def test_a_pass_in_bfloat16_leaves_no_trace(checkpoints: dict[str, Path]) -> None:
    upstream = SeamlessM4T(checkpoint=str(checkpoints["seamless_v1"])).eval()
    expected = upstream(noise(8000), torch.tensor([8000])).layers[-1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        upstream(noise(8000), torch.tensor([8000]))
    assert torch.equal(upstream(noise(8000), torch.tensor([8000])).layers[-1], expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_conformer_is_kept(family: str, checkpoints: dict[str, Path]) -> None:
    upstream = SeamlessM4T(checkpoint=str(checkpoints[family]))
    whole = SUPERVISED[family][0].from_pretrained(checkpoints[family]).speech_encoder.state_dict()
    kept = {name: value for name, value in whole.items() if name.startswith(("encoder.", "feature_projection."))}
    found = upstream.model.state_dict()
    assert found.keys() == kept.keys()
    assert all(torch.equal(value, kept[name]) for name, value in found.items())
    assert set(upstream.record()) == {"checkpoint", "revision", "commit", "sha256", "config", "num_parameters", "dtype"}


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_gives_the_same_gradients(family: str, checkpoints: dict[str, Path]) -> None:
    upstream = SeamlessM4T(checkpoint=str(checkpoints[family])).train()
    for module in upstream.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            upstream.model.activation_checkpointing_enable()
        upstream.zero_grad()
        sum(layer.square().sum() for layer in upstream(noise(8000), torch.tensor([8000])).layers).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in upstream.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: {k: v for k, v in w.items() if "speech_encoder.encoder.layers.2." not in k}, r"missing.*layers\.2"),
        (lambda w: {**w, "speech_encoder.encoder.layers.9.ffn1.bias": torch.zeros(2)}, r"unknown.*layers\.9"),
    ],
)
def test_foreign_weights_are_named(damage: object, message: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(checkpoints["seamless_v2"], tmp_path, dirs_exist_ok=True)
    weights = damage(load_file(tmp_path / "model.safetensors"))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        SeamlessM4T(checkpoint=str(tmp_path))
