"""Labels and pre-training as runs: what they leave, killed and started again, and what they refuse."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from pretraining_runs import SMALL, killed, labels_of, on_two_ranks, pretraining_of, run, speech_tree
from transformers import AutoFeatureExtractor, AutoModel

from mlsuperb.pretraining.head import load_head
from mlsuperb.pretraining.records import LabelsResult, PretrainingResult
from mlsuperb.runs.store import find, read
from mlsuperb.units.codebook import Codebook
from mlsuperb.units.labels import Labels
from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.kaldi_mfcc import KaldiMFCC


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speech_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def labels(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(labels_of(tree, tmp_path_factory.mktemp("labels"), "labelling.rows_per_shard=4"))


@pytest.fixture(scope="module")
def pretrained(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(pretraining_of(labels, tmp_path_factory.mktemp("pretrained")))


def contents(folder: Path, *patterns: str) -> dict[str, str]:
    files = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    assert len(files) >= len(patterns)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_frame_has_the_nearest_unit_of_its_features(labels: Path) -> None:
    found, codebook = Labels(labels / "labels"), Codebook.load(labels / "labels")
    assert found.about.codebook == codebook.sha256
    assert (found.rate_hz, codebook.num_units, len(found)) == (100, 8, 15)
    import soundfile

    for row, utterance in enumerate(found.manifest.itertuples()):
        wave = torch.from_numpy(soundfile.read(utterance.audio, dtype="float32")[0])
        features = KaldiMFCC()(wave[None], torch.tensor([len(wave)])).layers[0][0]
        nearest = torch.cdist(features.double(), codebook.centroids_KP.double()).argmin(1)
        agreement = (nearest.numpy() == found[row]).mean()
        assert agreement > 0.99
    result = read(labels, LabelsResult)
    assert result.labels["num_frames"] == sum(map(len, found))
    used = np.unique(np.concatenate(list(found)))
    assert result.units["active"] == len(used)


def test_the_model_loads_in_transformers_and_gives_our_layers(pretrained: Path) -> None:
    folder = pretrained / "huggingface"
    model, extractor = AutoModel.from_pretrained(folder).eval(), AutoFeatureExtractor.from_pretrained(folder)
    wave = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    inputs = extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        theirs = model(**inputs, output_hidden_states=True).hidden_states
        ours = HuggingFace(checkpoint=str(folder)).eval()(wave[None], torch.tensor([16000])).layers
    assert len(ours) == len(theirs) == 3
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert model.masked_spec_embed.abs().sum() > 0
    assert load_head(folder).num_units == 8


def test_a_result_says_what_was_learnt_and_from_which_run(pretrained: Path, labels: Path) -> None:
    result = read(pretrained, PretrainingResult)
    assert set(result.scores["languages"]) == {"deu", "swa"}
    assert result.scores["all"]["loss"] > 0
    assert 0 < result.scores["all"]["code_perplexity"] <= 8
    assert result.inputs["targets"].run_id == labels.name
    assert len(result.training["history"]) == 2
    assert {"train_masked_accuracy", "train_unmasked_accuracy", "valid_loss", "valid_code_perplexity"} <= set(
        result.training["history"][0]
    )
    assert find([pretrained], PretrainingResult).runs
    weighted = result.scores["languages"]
    assert (
        min(one["loss"] for one in weighted.values())
        <= result.scores["all"]["loss"]
        <= max(one["loss"] for one in weighted.values())
    )


def test_the_model_has_a_card(pretrained: Path) -> None:
    card = ModelCard.load(pretrained / "huggingface" / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.language == ["deu", "swa"]
    assert "8 units of kaldi_mfcc, layer 0, 100 per second" in card.text
    assert "| updates | 8 |" in card.text
    assert f"torch {torch.__version__.partition('+')[0]}" in card.text
    assert "{{" not in card.content


@pytest.mark.parametrize("moment", ["fit", "shard"])
def test_labels_that_were_killed_end_the_same(moment: str, tree: Path, labels: Path, tmp_path: Path) -> None:
    overrides = labels_of(tree, tmp_path, "labelling.rows_per_shard=4")
    assert killed(moment, overrides) == -9
    assert not list(tmp_path.glob("labels-*/result.json"))
    again = run(overrides)
    assert contents(again / "labels", "*.npy", "codebook.safetensors") == contents(
        labels / "labels", "*.npy", "codebook.safetensors"
    )


@pytest.mark.parametrize("moment", ["step", "checkpoint"])
def test_a_training_that_was_killed_ends_the_same(moment: str, labels: Path, pretrained: Path, tmp_path: Path) -> None:
    overrides = pretraining_of(labels, tmp_path)
    assert killed(moment, overrides) == -9
    (folder,) = tmp_path.glob("pretrain-*")
    assert list((folder / "checkpoints").glob("[0-9]*"))
    again = run(overrides)
    patterns = ("huggingface/*.safetensors", "model.safetensors")
    assert contents(again, *patterns) == contents(pretrained, *patterns)


def test_a_second_iteration_takes_its_labels_from_the_first(pretrained: Path, tree: Path, tmp_path: Path) -> None:
    overrides = labels_of(tree, tmp_path, "upstream=pretrained", f"upstream.run={pretrained}", "extraction.layer=1")
    second = run(overrides)
    found = read(second, LabelsResult)
    assert (found.labels["rate_hz"], found.features["layer"], found.features["size"]) == (50, 1, 32)
    assert found.inputs["upstream"].run_id == pretrained.name
    trained = run(pretraining_of(second, tmp_path, "trainer.max_epochs=1"))
    assert read(trained, PretrainingResult).targets["labels"]["rate_hz"] == 50


def test_two_processes_share_out_labels_and_batches(tree: Path, labels: Path, tmp_path: Path) -> None:
    on_two_ranks(labels_of(tree, tmp_path, "labelling.rows_per_shard=4"))
    (made,) = tmp_path.glob("labels-*")
    patterns = ("*.npy", "codebook.safetensors")
    assert contents(made / "labels", *patterns) == contents(labels / "labels", *patterns)
    on_two_ranks(pretraining_of(made, tmp_path, "prediction.layer_drop=0.3"))
    (trained,) = tmp_path.glob("pretrain-*")
    result = read(trained, PretrainingResult)
    assert len(result.training["history"]) == 2
    assert result.scores["all"]["loss"] > 0
    assert result.cost["utterances"] > 8  # of both processes


def test_a_codebook_is_used_again_for_other_speech(labels: Path, tree: Path, tmp_path: Path) -> None:
    other = run(labels_of(tree, tmp_path, f"labelling.run={labels}", "labelling.splits=[test]"))
    assert Labels(other / "labels").about.codebook == Labels(labels / "labels").about.codebook
    assert read(other, LabelsResult).inputs["codebook"].run_id == labels.name


def test_a_published_model_is_trained_further_with_its_head(pretrained: Path, labels: Path, tmp_path: Path) -> None:
    folder = pretrained / "huggingface"
    given = [
        "job=pretrain",
        f"targets.run={labels}",
        f"output_root={tmp_path}",
        "upstream=hf",
        f"upstream.checkpoint={folder}",
    ]
    assert "add +upstream.regularisation=mask_embedding" in " ".join(refusal(given).split())
    short = [word for word in SMALL if word.startswith(("trainer", "loading"))]
    given += [
        "+upstream.regularisation=mask_embedding",
        f"prediction.start={folder}",
        *short,
        "trainer.optimizer.lr=0.0",
    ]
    again = run(given)
    assert contents(again, "huggingface/*.safetensors") == contents(pretrained, "huggingface/*.safetensors")


def refusal(overrides: list[str]) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        run(overrides)
    return str(caught.value)


def test_what_does_not_fit_is_refused_before_training(
    labels: Path, pretrained: Path, tree: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "nothing"
    empty.mkdir()
    said = refusal(pretraining_of(empty, tmp_path))
    assert "is not the folder of a run of job=labels" in said
    said = refusal(
        [*labels_of(tree, tmp_path, "upstream=pretrained", f"upstream.run={pretrained}"), f"labelling.run={labels}"]
    )
    assert "features of size 39; these have size 32" in said
    said = refusal(labels_of(tree, tmp_path, "upstream=pretrained", f"upstream.run={pretrained}", "extraction.layer=7"))
    assert "the layers 0 to 2" in said
    said = refusal(labels_of(tree, tmp_path, "clustering.num_units=100000"))
    assert "100000" in said.replace(",", "")
    said = refusal(["job=pretrain", f"targets.run={labels}", f"output_root={tmp_path}", "upstream=fbank"])
    assert "cannot be pre-trained" in said
    said = refusal(labels_of(tree, tmp_path, "labelling.splits=[train,dev_dialect]"))
    assert "no dev_dialect utterance to label" in said


def test_labels_that_have_changed_are_refused(labels: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(labels, tmp_path / labels.name)
    shard = copy / "labels" / "units-00001.npy"
    units = np.load(shard)
    np.save(shard, units[:-30])
    assert "it is damaged" in refusal(pretraining_of(copy, tmp_path))
    lengths = np.load(copy / "labels" / "lengths-00001.npy")
    lengths[-1] -= 30
    np.save(copy / "labels" / "lengths-00001.npy", lengths)
    assert "label it anew" in refusal(pretraining_of(copy, tmp_path))
    shard.unlink()
    assert "lacks 1 of 4 shards" in refusal(pretraining_of(copy, tmp_path))


def test_a_rate_that_is_no_multiple_of_the_frames_is_refused(labels: Path, tmp_path: Path) -> None:
    said = refusal(
        pretraining_of(
            labels, tmp_path, "upstream.conv_strides=[5,2,2,2,2,5,1]", "upstream.conv_kernels=[10,3,3,3,3,5,2]"
        )
    )
    assert "100 labels per second" in said


def test_not_finite_steps_are_skipped_and_end_the_run_when_repeated(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlsuperb.pretraining.model import MaskedPredictionModel

    forward = MaskedPredictionModel.forward
    calls = 0

    def sometimes_infinite(self: MaskedPredictionModel, *arguments: object) -> object:
        nonlocal calls
        calls += 1
        result = forward(self, *arguments)  # type: ignore[arg-type]
        return type(result)(
            result.loss * (float("inf") if calls in bad else 1.0), weight=result.weight, rates=result.rates
        )

    monkeypatch.setattr(MaskedPredictionModel, "forward", sometimes_infinite)
    bad = {2}
    done = run(pretraining_of(labels, tmp_path, "trainer.max_epochs=1"))
    assert read(done, PretrainingResult).training["skipped_steps"] == 1
    calls, bad = 0, set(range(100))
    said = refusal(pretraining_of(labels, tmp_path, "trainer.max_skipped_steps=2", "seed=1"))
    assert "not finite in 3 updates, more than trainer.max_skipped_steps=2" in said
    assert json.loads(next(tmp_path.glob("*s1*/status.json")).read_text())["state"] == "failed"
