"""Parakeet's FastConformer against transformers' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_checkpoints import PARAKEET, SUPERVISED, move_from_initial
from torch import Tensor
from transformers import (
    CanaryConfig,
    CanaryForConditionalGeneration,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    ParakeetForRNNT,
    ParakeetForTDT,
    ParakeetRNNTConfig,
    ParakeetTDTConfig,
)
from transformers.models.parakeet.modeling_parakeet import ParakeetEncoder

from mlsuperb.adaptation.full import Full
from mlsuperb.upstreams.parakeet import Parakeet, ParakeetInput
from mlsuperb.upstreams.whisper import Whisper

# as parakeet-tdt-0.6b-v3 and canary-1b-v2 have it
MULTILINGUAL = {
    **PARAKEET, "model_type": "parakeet_encoder", "num_hidden_layers": 2, "num_mel_bins": 128, "scale_input": False,
    "attention_bias": False, "convolution_bias": False,
}  # fmt: skip
CANARY_DECODER = {
    "vocab_size": 16, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip
TRANSDUCER = {"vocab_size": 16, "blank_token_id": 15, "decoder_hidden_size": 8, "encoder_config": MULTILINGUAL}
WRAPPINGS: dict[str, tuple[Any, Any]] = {
    "encoder": (ParakeetEncoder, ParakeetEncoderConfig(**MULTILINGUAL)),
    "ctc": SUPERVISED["parakeet"],
    "rnnt": (ParakeetForRNNT, ParakeetRNNTConfig(**TRANSDUCER)),
    "tdt": (ParakeetForTDT, ParakeetTDTConfig(**TRANSDUCER)),
    "canary": (
        CanaryForConditionalGeneration,
        CanaryConfig(vocab_size=16, encoder_config=MULTILINGUAL, decoder_config=CANARY_DECODER),
    ),
}
LENGTHS = [12345, 30000, 4321, 801]


def noise(num_samples: int, *, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed)) + 0.02


@torch.no_grad()
def original(encoder: ParakeetEncoder, waves: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
    """transformers' layers of a batch, and the number of valid frames."""
    extractor = ParakeetFeatureExtractor(feature_size=encoder.config.num_mel_bins)
    inputs = extractor([wave_T.numpy() for wave_T in waves], sampling_rate=16000, return_tensors="pt")
    output = encoder.eval()(**inputs, output_hidden_states=True)
    return output.hidden_states, output.attention_mask.sum(-1)


@torch.no_grad()
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_layers_are_those_of_transformers_alone_and_in_a_batch(wrapping: str, tmp_path: Path) -> None:
    model_class, config = WRAPPINGS[wrapping]
    torch.manual_seed(0)
    model = model_class(config)
    move_from_initial(model)
    model.save_pretrained(tmp_path)
    encoder = model if wrapping == "encoder" else getattr(model, "model", model).encoder
    upstream = Parakeet(checkpoint=str(tmp_path)).eval()
    assert Parakeet.depth({"checkpoint": str(tmp_path)}) == upstream.num_layers - 1
    waves = [noise(length, seed=row) for row, length in enumerate(LENGTHS)]
    found = upstream(torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(LENGTHS))
    batched, frames_B = original(encoder, waves)
    assert found.lengths_B.tolist() == frames_B.tolist() == [10, 24, 4, 1]
    assert len(found.layers) == len(batched) == upstream.num_layers
    for layer_BFD in found.layers[:-1]:
        assert layer_BFD[1].std() > 0.1  # a signal, not the rounding of one
    for row, (wave_T, frames) in enumerate(zip(waves, frames_B.tolist(), strict=True)):
        alone = upstream(wave_T[None], torch.tensor([len(wave_T)])).layers
        expected, _ = original(encoder, [wave_T])
        for layer, mine, theirs, together in zip(found.layers, alone, expected, batched, strict=True):
            for other in (layer[row, :frames], together[row, :frames], theirs[0, :frames]):
                assert (mine[0] - other).abs().max() <= 1e-5 * other.abs().max()


@pytest.mark.parametrize("num_mels", [80, 128])
@pytest.mark.parametrize("length", [16000, 15999, 4321, 320])
def test_log_mels_equal_the_extractor(num_mels: int, length: int) -> None:
    wave_BT = torch.zeros(2, length + 5000)
    wave_BT[0, :length], wave_BT[1] = noise(length), 20 * noise(length + 5000, seed=1)
    extractor = ParakeetFeatureExtractor(feature_size=num_mels)
    found, frames_B = ParakeetInput(num_mels=num_mels)(wave_BT, torch.tensor([length, length + 5000]))
    expected = extractor(wave_BT[0, :length].numpy(), sampling_rate=16000, return_tensors="pt")
    assert frames_B[0] == expected.attention_mask.sum() == length // 160
    torch.testing.assert_close(found[0, : length // 160], expected.input_features[0, :-1], rtol=0, atol=2e-5)
    assert found[0, length // 160 :].abs().sum() == 0


def test_silence_is_no_nan() -> None:
    found, _ = ParakeetInput(num_mels=80)(torch.zeros(1, 8000), torch.tensor([8000]))
    assert found.isfinite().all()


def test_batch_norm_keeps_its_statistics_and_trains_its_scale(checkpoints: dict[str, Path]) -> None:
    upstream = Parakeet(checkpoint=str(checkpoints["parakeet"]))
    before = {name: value.clone() for name, value in upstream.named_buffers() if "running_" in name}
    assert len(before) == 8
    trained = Full().apply(upstream)
    upstream.train()
    upstream(noise(8000)[None], torch.tensor([8000])).layers[-1].square().sum().backward()
    assert all(torch.equal(upstream.get_buffer(name), value) for name, value in before.items())
    (scale,) = (name for name in trained if "layers.0.conv.norm.weight" in name)
    assert upstream.get_parameter(scale).grad.abs().max() > 0


def test_only_the_encoder_is_kept(checkpoints: dict[str, Path]) -> None:
    upstream = Parakeet(checkpoint=str(checkpoints["parakeet"]), revision="v1")
    expected = ParakeetForCTC.from_pretrained(checkpoints["parakeet"]).encoder.state_dict()
    found = upstream.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    assert upstream.model.layerdrop == 0
    assert not upstream.has_final_norm
    assert set(upstream.record()) == {"checkpoint", "revision", "commit", "sha256", "config", "num_parameters", "dtype"}


def test_gradient_checkpointing_gives_the_same_gradients(checkpoints: dict[str, Path]) -> None:
    upstream = Parakeet(checkpoint=str(checkpoints["parakeet"])).train()
    upstream.model.dropout = 0.0
    for module in upstream.modules():
        for name in ("activation_dropout", "attention_dropout"):
            if hasattr(module, name):
                setattr(module, name, 0.0)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            upstream.model.activation_checkpointing_enable()
        upstream.zero_grad()
        sum(layer.square().sum() for layer in upstream(noise(8000)[None], torch.tensor([8000])).layers).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in upstream.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "whisper"}, r"'whisper'; supported are .* \(Parakeet, Canary\)\. Use upstream=whisper"),
        ({"model_type": "lasr_ctc"}, r"'lasr_ctc'; supported are .* Choose a checkpoint of one of these"),
        ({"encoder_config": {"model_type": "wav2vec2"}}, r"encoder is of the type 'wav2vec2' .*only parakeet_encoder can"),
        ({"encoder_config": None}, r"encoder is of the type None"),
    ],
)  # fmt: skip
def test_other_models_are_refused(
    changes: dict[str, Any], message: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(checkpoints["parakeet"], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    assert len(Parakeet.problems(checkpoint=str(tmp_path))) == 1
    with pytest.raises(ValueError, match=message):
        Parakeet(checkpoint=str(tmp_path))


def test_the_right_upstream_is_named(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"'parakeet_ctc'.*Use upstream=parakeet for this checkpoint"):
        Whisper(checkpoint=str(checkpoints["parakeet"]))


def test_files_of_nemo_are_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parakeet-ctc-0.6b.nemo").write_bytes(b"a tar")
    for checkpoint in (tmp_path, tmp_path / "parakeet-ctc-0.6b.nemo"):
        (problem,) = Parakeet.problems(checkpoint=str(checkpoint))
        assert "NeMo's own files (.nemo) are not read: convert one with transformers' models/parakeet" in problem
        with pytest.raises(ValueError, match=r"\.nemo\) are not read"):
            Parakeet(checkpoint=str(checkpoint))

    def nothing(*_args: object, **_known: object) -> None:
        raise OSError("nvidia/x does not appear to have a file named config.json")

    monkeypatch.setattr("transformers.utils.cached_file", nothing)
    with pytest.raises(ValueError, match=r"no.*config\.json.*\.nemo\) are not read"):
        Parakeet(checkpoint="nvidia/x")
