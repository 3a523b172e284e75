"""Vocoders as runs: what they leave, killed and started again, what they refuse; and speech from units with them."""

from __future__ import annotations

import hashlib
import json
import shutil
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from run_processes import without_dropout
from safetensors.torch import load_file
from vocoder_runs import corpus, killed, labels_of, on_two_ranks, run, vocoder_of

from mlsuperb.commands import units as command
from mlsuperb.runs.store import find, read
from mlsuperb.units.labels import Labels
from mlsuperb.vocoder import synthesis
from mlsuperb.vocoder.folder import load_vocoder
from mlsuperb.vocoder.job import Vocoding
from mlsuperb.vocoder.records import VocoderResult


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def labels(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(labels_of(data, tmp_path_factory.mktemp("labels")))


@pytest.fixture(scope="module")
def trained(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(vocoder_of(labels, tmp_path_factory.mktemp("vocoder"), "vocoder.speaker=true", "vocoder.language=true"))


@pytest.fixture
def extracted(labels: Path, tmp_path: Path) -> Path:
    """The units of the labels as `mlsuperb units extract` writes them."""
    found, folder = Labels(labels / "labels"), tmp_path / "units"
    folder.mkdir()
    about = {
        "codebook": found.about.codebook,
        "rate_hz": 50.0,
        "num_units": 6,
        "features": {"name": "fbank"},
        "run_id": "labels",
    }
    (folder / "about.json").write_text(json.dumps(about))
    with (folder / "units.jsonl").open("w") as file:
        for row, utterance in enumerate(found.manifest.itertuples()):
            runs = [(int(unit), len(list(same))) for unit, same in groupby(found[row])]
            line = {name: getattr(utterance, name) for name in ("id", "language", "dataset", "split", "speaker")}
            file.write(json.dumps(line | {"units": [u for u, _ in runs], "durations": [n for _, n in runs]}) + "\n")
    return folder


def refusal(overrides: list[str]) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        run(overrides)
    return str(caught.value)


def test_a_result_says_how_near_copies_come(trained: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = read(trained, VocoderResult)
    assert set(result.scores["languages"]) == {"deu", "swa"}
    assert result.scores["all"]["mel_l1"] > 0.1
    assert result.scores["all"]["duration_error"] > 0
    assert result.inputs["targets"].run_id == labels.name
    assert result.voices == {"speakers": ["s0", "s1"], "languages": ["deu", "swa"]}
    history = result.training["history"]
    assert len(history) == 2
    names = {"train_loss_discriminator", "train_loss_generator", "train_mel_l1_generator", "valid_mel_l1"}
    assert names <= set(history[0])
    assert find([trained], VocoderResult).runs
    Vocoding().show(trained)
    assert "log-mel L1" in capsys.readouterr().out
    with pytest.raises(ValueError, match="transcribes nothing"):
        Vocoding().load(trained, device="cpu")


def test_the_folder_holds_the_generator_as_it_was_trained(trained: Path, labels: Path) -> None:
    """Against the training's own weights, which are split into length and direction and hold the discriminators, too."""
    model, voice = load_vocoder(trained)
    assert voice.codebook == Labels(labels / "labels").about.codebook
    assert (voice.rate_hz, voice.num_units, voice.speakers) == (50, 6, ("s0", "s1"))
    split = load_file(trained / "model.safetensors")
    for stem in ("hifi_gan.conv_pre", "hifi_gan.upsampler.0", "hifi_gan.resblocks.4.convs2.1"):
        length, direction = (split[f"generator.{stem}.parametrizations.weight.original{n}"] for n in (0, 1))
        wanted = length * direction / direction.flatten(1).norm(dim=1).reshape(length.shape)
        torch.testing.assert_close(model.get_submodule(stem).weight.detach(), wanted)
    assert not any("discriminator" in name for name in load_file(trained / "vocoder" / "model.safetensors"))


def test_a_training_that_was_killed_ends_the_same(labels: Path, trained: Path, tmp_path: Path) -> None:
    overrides = vocoder_of(labels, tmp_path, "vocoder.speaker=true", "vocoder.language=true")
    assert killed(overrides) == -9
    (folder,) = tmp_path.glob("vocoder-*")
    assert list((folder / "checkpoints").glob("[0-9]*"))
    assert not (folder / "result.json").exists()
    again = run(overrides)
    for name in ("model.safetensors", "vocoder/model.safetensors"):
        one, other = (hashlib.sha256((run / name).read_bytes()).hexdigest() for run in (again, trained))
        assert one == other


def test_two_ranks_give_what_one_gives(data: list[str], tmp_path: Path) -> None:
    """Batches of two segments and of one, of which one of the ranks has none; segments with different numbers of runs."""
    labels = run(labels_of(data, tmp_path, "clustering.num_units=20"))  # of more units the runs are shorter
    # Adam divides a gradient by its own size, so that the last bits of one that is all but 0 would steer a whole step
    more = ("vocoder.speaker=true", "+trainer.optimizer.eps=0.1", "trainer.optimizer.lr=1e-3")
    with without_dropout():
        alone = run(vocoder_of(labels, tmp_path / "one", *more))
    on_two_ranks(vocoder_of(labels, tmp_path / "two", *more))
    both = tmp_path / "two" / alone.name
    assert json.loads((both / "environment.json").read_text())[0]["processes"] == 2
    one, two = (read(folder, VocoderResult) for folder in (alone, both))
    for mine, its in zip(one.training["history"], two.training["history"], strict=True):
        assert "train_duration_error_generator" in mine
        assert its == pytest.approx(mine, rel=1e-4)
    assert two.scores["all"] == pytest.approx(one.scores["all"], rel=1e-4)
    assert two.cost["segments"] == one.cost["segments"]
    mine, its = (load_file(folder / "model.safetensors") for folder in (alone, both))
    for name, tensor in mine.items():
        torch.testing.assert_close(
            its[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda said, name=name: f"{name}: {said}"
        )


def test_a_vocoder_starts_from_another_one(labels: Path, trained: Path, tmp_path: Path) -> None:
    more = ("vocoder.speaker=true", f"vocoder.start={trained}", "trainer.optimizer.lr=1e-12", "trainer.max_epochs=1")
    again = run(vocoder_of(labels, tmp_path, *more))
    started = read(again, VocoderResult).start
    assert started is not None
    assert started["new"] == {"hifi_gan.conv_pre.weight": "[32, 16, 7] there, [32, 12, 7] here"}
    (one, _), (other, _) = load_vocoder(trained), load_vocoder(again)
    torch.testing.assert_close(one.unit_embedding.weight, other.unit_embedding.weight)
    torch.testing.assert_close(one.hifi_gan.conv_post.weight, other.hifi_gan.conv_post.weight)
    said = refusal(vocoder_of(labels, tmp_path, f"vocoder.start={trained}", "vocoder.initial_channels=64"))
    assert "no weights of a generator of these sizes" in said
    assert "hifi_gan.conv_pre.weight: [32, 16, 7] there, [64, 8, 7] here" in said


def test_what_does_not_fit_is_refused_before_training(
    labels: Path, trained: Path, data: list[str], tmp_path: Path
) -> None:
    said = refusal(
        vocoder_of(labels, tmp_path, "vocoder.upsample_rates=[5,4,4,2,1]", "vocoder.upsample_kernels=[5,4,4,2,1]")
    )
    assert "vocoder.upsample_rates=[5, 4, 4, 2, 1] make 160 samples of a unit" in said
    assert "50 units per second, 320 samples each" in said
    said = refusal(vocoder_of(labels, tmp_path, "vocoder.upsample_kernels=[11,8,8,4,3]"))
    assert "larger by an even number" in said
    said = refusal(vocoder_of(trained, tmp_path))
    assert "is not the folder of a finished run of job=labels (it is a run of job=vocoder)" in said
    assert "(there is no" not in said
    assert "choose loading=segments" in refusal(vocoder_of(labels, tmp_path, "loading=light"))
    assert "no labelled train utterance of at least 500 units" in refusal(
        vocoder_of(labels, tmp_path, "loading.crops.max_s=10")
    )
    only_train = run(labels_of(data, tmp_path, "labelling.splits=[train]"))
    assert "no labelled dev utterance" in refusal(vocoder_of(only_train, tmp_path))


def test_an_embedding_of_speakers_needs_their_names(tmp_path: Path) -> None:
    labels = run(labels_of(corpus(tmp_path, speakers=False), tmp_path))
    said = refusal(vocoder_of(labels, tmp_path, "vocoder.speaker=true"))
    assert "vocoder.speaker=true learns an embedding of every speaker, but 7 of 7 train utterances have none" in said


def synthesise(*words: Any) -> None:
    command.main(["synthesise", *map(str, words)])


def test_units_become_files(trained: Path, extracted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "wavs"
    given = [extracted, "--vocoder", trained, "--out", out, "--device", "cpu"]
    synthesise(*given, "--batch-s", "2")
    assert "real-time factor" in capsys.readouterr().out
    lines = [json.loads(line) for line in (extracted / "units.jsonl").read_text().splitlines()]
    assert len(lines) == len(list(out.glob("*.wav"))) == 10
    for line in lines:
        info = soundfile.info(out / f"{line['id']}.wav")
        assert (info.samplerate, info.subtype) == (16000, "PCM_16")
        assert info.frames == 320 * sum(line["durations"])
    first, before = out / "u0.wav", (out / "u0.wav").read_bytes()
    first.write_bytes(b"mine")
    synthesise(*given)
    assert first.read_bytes() == b"mine"
    assert "no file to write, 10 were there already" in capsys.readouterr().out
    synthesise(*given, "--overwrite", "--batch-s", "0.1")
    assert first.read_bytes() == before
    with pytest.raises(ValueError, match=r"made in another way \(speaker None there, s1 here\)"):
        synthesise(*given, "--speaker", "s1")
    synthesise(*given, "--overwrite", "--speaker", "s1")
    assert first.read_bytes() != before


def test_a_killed_overwrite_leaves_no_file_of_the_other_voice(
    trained: Path, extracted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "wavs"
    given = [extracted, "--vocoder", trained, "--out", out, "--device", "cpu", "--speaker"]
    synthesise(*given, "s1")
    expected = {path.name: path.read_bytes() for path in out.glob("*.wav")}
    synthesise(*given, "s0", "--overwrite")
    write = synthesis._write

    def dying(path: Path, wave_T: Any) -> None:
        write(path, wave_T)
        raise KeyboardInterrupt

    monkeypatch.setattr(synthesis, "_write", dying)
    with pytest.raises(KeyboardInterrupt):
        synthesise(*given, "s1", "--overwrite")
    monkeypatch.setattr(synthesis, "_write", write)
    synthesise(*given, "s1")
    assert {path.name: path.read_bytes() for path in out.glob("*.wav")} == expected


def test_predicted_durations(trained: Path, extracted: Path, tmp_path: Path) -> None:
    out = tmp_path / "wavs"
    synthesise(extracted, "--vocoder", trained / "vocoder", "--out", out, "--durations", "predicted", "--device", "cpu")
    line = json.loads((extracted / "units.jsonl").read_text().splitlines()[0])
    model, _ = load_vocoder(trained)
    with torch.no_grad():
        log_S = model.dur_predictor(model.unit_embedding(torch.tensor([line["units"]])))[0]
    frames = np.maximum(1, np.rint(np.expm1(log_S.numpy()))).sum()
    assert soundfile.info(out / f"{line['id']}.wav").frames == 320 * frames


def test_units_that_the_vocoder_does_not_speak(trained: Path, extracted: Path, tmp_path: Path) -> None:
    given = [extracted, "--vocoder", trained, "--out", tmp_path / "wavs", "--device", "cpu"]
    with pytest.raises(ValueError, match=r"--speaker s9 is not among the speakers .*: choose --speaker of s0, s1"):
        synthesise(*given, "--speaker", "s9")
    about = json.loads((extracted / "about.json").read_text())
    (extracted / "about.json").write_text(json.dumps(about | {"codebook": "0" * 64}))
    with pytest.raises(ValueError, match=r"units of the codebook 000000000000\.\.\. .* another sound"):
        synthesise(*given)
    (extracted / "about.json").write_text(json.dumps(about))
    with (extracted / "units.jsonl").open("a") as file:
        file.write(
            '{"id": "x", "language": "deu", "dataset": "d", "split": "dev", "speaker": null, "units": [6], "durations": [1]}'
        )
    with pytest.raises(
        ValueError, match=r"line 11, is no utterance in units from 0 to 5, each with a duration in frames"
    ):
        synthesise(*given)
    (extracted / "units.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(ValueError, match=r"line 1, is no utterance in units"):
        synthesise(*given)
    (extracted / "units.jsonl").unlink()
    with pytest.raises(ValueError, match=r"holds no units \(units\.jsonl is missing\)"):
        synthesise(*given)
    unfinished = shutil.copytree(
        trained, tmp_path / "unfinished", ignore=shutil.ignore_patterns("vocoder", "result.json")
    )
    with pytest.raises(ValueError, match=r"holds no vocoder"):
        synthesise(extracted, "--vocoder", unfinished, "--out", tmp_path)
    assert not (tmp_path / "wavs").exists()
