from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from trained_runs import TOKENS, trained_run

import mlsuperb
from mlsuperb.api.models import Model
from mlsuperb.benchmark import build
from mlsuperb.commands.transcribe import transcribe
from mlsuperb.runs import store

GENERATOR = np.random.default_rng(0)
LONG_T, SHORT_T = (GENERATOR.normal(0, 0.1, number).astype(np.float32) for number in (24_000, 9_000))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("runs") / "tiny-1a2b3c4d", "upstream=tiny", "adaptation=lora")


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return mlsuperb.load(run, device="cpu")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, wave_T in (("long", LONG_T), ("short", SHORT_T)):
        soundfile.write(tmp_path / f"{name}.wav", wave_T, 16_000, subtype="FLOAT")
    return [tmp_path / "long.wav", tmp_path / "short.wav"]


def test_features_are_the_layers_of_the_adapted_upstream(model: Model, run: Path, files: list[Path]) -> None:
    found = model.features(files[0])
    upstream = build.load_recogniser(run, build.load_config(run)).model.upstream
    with torch.inference_mode():
        expected = upstream(torch.from_numpy(LONG_T)[None], torch.tensor([len(LONG_T)]))
    assert found.values.shape == (4, 74, 64)
    assert found.values.dtype == np.float32
    assert found.frame_rate_hz == 50.0
    assert len(found) == 4
    assert repr(found) == "4 layers of 74 frames x 64 (50 frames per second)"
    for layer, values_BFD in enumerate(expected.layers):
        np.testing.assert_array_equal(found[layer], values_BFD[0].numpy())


def test_waves_and_files_in_one_list_have_the_features_of_each_alone(model: Model, files: list[Path]) -> None:
    together = model.features([SHORT_T, files[0], torch.from_numpy(SHORT_T)], rate=16_000)
    for found, one in zip(together, (files[1], files[0], str(files[1])), strict=True):
        np.testing.assert_array_equal(found.values, model.features(one).values)
    assert model.features([]) == []


def test_waves_of_other_rates_are_resampled_as_files_are(model: Model, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", LONG_T, 44_100, subtype="FLOAT")
    found = model.features(LONG_T.astype(np.float64), rate=44_100)
    np.testing.assert_array_equal(found.values, model.features(tmp_path / "a.wav").values)
    assert found.values.shape[1] == 26, "0.54 s"


def test_posteriors_are_of_tokens_by_frame(model: Model, files: list[Path]) -> None:
    long, short = model.posteriors(files)
    assert long.tokens == tuple(TOKENS)
    assert long.values.shape == (74, len(TOKENS))
    assert short.values.shape == (27, len(TOKENS))
    assert long.frame_rate_hz == 50.0
    np.testing.assert_allclose(long.values.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(model.posteriors(files[1]).values, short.values, atol=1e-5)
    assert repr(short) == f"posteriors of 27 frames (50 per second) x {len(TOKENS)} tokens"


def test_posteriors_of_a_head_that_halves_frames_and_of_one_label(tmp_path: Path) -> None:
    halved = trained_run(tmp_path / "a", "head=transformer_light", "head.frontend=conv1d2", "head.size=32")
    found = mlsuperb.load(halved, device="cpu").posteriors(LONG_T, rate=16_000)
    assert (len(found.values), found.frame_rate_hz) == (38, 25.0)
    label = trained_run(tmp_path / "b", "task=lid", "objective=classifier", "decoding=argmax")
    one = mlsuperb.load(label, device="cpu").posteriors(LONG_T, rate=16_000)
    assert (len(one.values), one.frame_rate_hz) == (1, None)
    assert repr(one) == f"posteriors of 1 frames (one for the whole audio) x {len(TOKENS)} tokens"


def test_transcripts_are_those_of_the_command(model: Model, run: Path, files: list[Path]) -> None:
    expected = transcribe(run, files, device="cpu")
    found = model.transcribe([files[0], SHORT_T], rate=16_000)
    assert [one.language for one in found] == [one.predicted_language for one in expected]
    told = [re.sub(r"\s*\[[a-z]{3}\]\s*", " ", one.hypothesis).strip() for one in expected]
    assert [one.text for one in found] == told
    assert any(told)
    assert model.transcribe(str(files[1])) == found[1]


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (LONG_T, None, "rate=None: give the samples per second of a wave as a whole number, such as rate=16000"),
        (LONG_T, 16_000.0, r"rate=16000\.0: give the samples per second"),
        (
            LONG_T[None],
            16_000,
            r"audio 0 is an array of float32 of the shape \(1, 24000\): give a file, a wave \(one-dim",
        ),
        ([LONG_T, np.zeros(5, np.int16)], 16_000, r"audio 1 is an array of int16 of the shape \(5,\)"),
        ([0.1, 0.2], 16_000, "audio 0 is float: give a file, a wave"),
        (LONG_T[:0], 16_000, "audio 0 is empty: "),
        (np.full(9, np.nan), 16_000, "audio 0 is not finite: "),
        ("gone.wav", 16_000, "rate=16000 is for waves, and only files were given"),
        (["gone.wav", "lost.wav"], None, r"gone\.wav.*; .*lost\.wav"),
    ],
)
def test_what_is_no_audio_is_refused(model: Model, audio: object, rate: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.features(audio, rate=rate)


def test_what_a_translator_cannot_give_is_refused() -> None:
    model = Model(Path("exp/lora-1"), "translation", object())
    with pytest.raises(
        ValueError, match="exp/lora-1 is a run of job=translation, whose model has no posteriors by frame"
    ):
        model.posteriors(LONG_T, rate=16_000)
    with pytest.raises(ValueError, match=r"whose model has no features of its upstream: mlsuperb\.upstream has those"):
        model.features(LONG_T, rate=16_000)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not the folder of a run: config\.yaml missing"):
        mlsuperb.load(tmp_path)


def test_a_strangers_class_is_built_only_where_it_is_brought(run: Path, tmp_path: Path) -> None:
    from mlsuperb.heads.linear import LinearHead

    folder = tmp_path / "own"
    (folder / "conf").mkdir(parents=True)
    for path in run.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    target = "brought_head.OwnHead"
    config = (folder / "config.yaml").read_text().replace("mlsuperb.heads.linear.LinearHead", target)
    (folder / "config.yaml").write_text(config)
    with pytest.raises(
        ValueError, match=r"names what is no part of mlsuperb \(head\._target_: brought_head\.OwnHead\)"
    ):
        mlsuperb.load(folder)
    (folder / "conf" / "own.yaml").write_text(f"_target_: {target}\n")
    module = type(sys)("brought_head")
    module.OwnHead = LinearHead
    sys.modules["brought_head"] = module
    try:
        assert (
            mlsuperb.load(folder, device="cpu", config_dirs=[folder / "conf"])
            .features(SHORT_T, rate=16_000)
            .values.any()
        )
    finally:
        del sys.modules["brought_head"]


def test_features_of_an_upstream_are_kept_on_disk(tmp_path: Path) -> None:
    made = mlsuperb.upstream("tiny", seed=3, cache=tmp_path / "kept", device="cpu")
    assert repr(made) == "tiny: 4 layers of 64, 50 frames per second"
    assert not any(parameter.requires_grad for parameter in made.model.parameters())
    first = made.features([LONG_T, SHORT_T], rate=16_000)
    assert len(list((tmp_path / "kept").rglob("*.safetensors"))) == 2
    plain = mlsuperb.upstream("tiny", seed=3, device="cpu").features([LONG_T, SHORT_T], rate=16_000)
    made.model.forward = None  # what is on disk is not computed again
    again = made.features([SHORT_T, LONG_T], rate=16_000)
    for found in (again[::-1], plain):
        assert all((one.values == other.values).all() for one, other in zip(first, found, strict=True))
    other = mlsuperb.upstream("tiny", seed=4, cache=tmp_path / "kept", device="cpu").features(SHORT_T, rate=16_000)
    assert not np.allclose(other.values, first[1].values)


def test_features_that_are_kept_in_few_bits_are_near(tmp_path: Path) -> None:
    exact = mlsuperb.upstream("tiny", device="cpu").features(SHORT_T, rate=16_000)
    near = mlsuperb.upstream("tiny", cache=tmp_path, dtype="int16", device="cpu").features(SHORT_T, rate=16_000)
    assert near.values.dtype == np.float32
    assert 0 < np.abs(near.values - exact.values).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("hubrt_base", {}, "upstream has no option 'hubrt_base'; nearest: hubert_base"),
        ("tiny", {"sead": 1}, "there is no setting 'upstream.sead'"),
        ("tiny", {"num_blocks": "many"}, "upstream.num_blocks='many' should be a valid integer"),
        ("hf", {}, "upstream.checkpoint"),
        ("tiny", {"device": "tpu"}, "device=tpu is no device|device=tpu is not supported"),
    ],
)
def test_upstreams_that_cannot_be_are_refused(name: str, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mlsuperb.upstream(name, **settings)


def test_an_upstream_of_another_checkpoint(tmp_path: Path) -> None:
    from mlsuperb.upstreams.bundled import models_folder

    made = mlsuperb.upstream("hf", checkpoint=models_folder() / "mhubert_tiny", device="cpu")
    bundled = mlsuperb.upstream("mhubert_tiny", device="cpu")
    assert (made.num_layers, made.layer_size) == (7, 256)
    np.testing.assert_array_equal(*(one.features(SHORT_T, rate=16_000).values for one in (made, bundled)))


def test_the_stored_config_is_untouched(run: Path, model: Model) -> None:
    assert store.read_config(run)["upstream"]["name"] == "tiny"
    assert json.dumps(store.read_config(run), default=str)
