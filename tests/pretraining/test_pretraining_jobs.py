"""Labels and pre-training as runs: what they leave, killed and started again, and what they refuse."""

from __future__ import annotations

import hashlib
import json
import shutil
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import ModelCard
from pretraining_runs import SMALL, killed, labels_of, on_two_ranks, pretraining_of, run, speech_tree
from transformers import AutoFeatureExtractor, AutoModel

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.pretraining import labels_build
from mlsuperb.pretraining.head import StoredHead
from mlsuperb.pretraining.records import LabelsResult, PretrainingResult
from mlsuperb.runs import classes
from mlsuperb.runs.run import Run
from mlsuperb.runs.store import find, read
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import choose_device
from mlsuperb.units.codebook import Codebook
from mlsuperb.units.labels import LabelFolder, Labels
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
    assert result.codebook_of == result.features


def test_bits_per_second_are_those_of_units_without_repetitions(labels: Path) -> None:
    """Runs per second times the entropy of a run's unit (Dunbar et al. 2019), by counting."""
    found = Labels(labels / "labels")
    runs = Counter(int(unit) for row in found for unit, _ in groupby(row))
    shares = np.array(list(runs.values())) / runs.total()
    seconds = sum(map(len, found)) / 100
    wanted = runs.total() / seconds * -(shares * np.log2(shares)).sum()
    units = read(labels, LabelsResult).units
    assert units["bitrate"] == pytest.approx(wanted)
    assert units["mean_segment_s"] == pytest.approx(seconds / runs.total())


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
    assert StoredHead.read(folder).head().num_units == 8


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
    assert card.data.language == ["de", "sw"]
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


@pytest.fixture(scope="module")
def second(pretrained: Path, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of a layer of the model."""
    more = ("upstream=pretrained", f"upstream.run={pretrained}", "extraction.layer=1")
    return run(labels_of(tree, tmp_path_factory.mktemp("second"), *more))


def test_a_second_iteration_takes_its_labels_from_the_first(second: Path, pretrained: Path, tmp_path: Path) -> None:
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


def test_a_codebook_is_for_one_layer_of_one_model(
    second: Path, pretrained: Path, labels: Path, tree: Path, tmp_path: Path
) -> None:
    """Any path to the same weights will do; another layer or another model of the same size will not."""
    again = (f"labelling.run={second}", "labelling.splits=[test]")
    model = ("upstream=pretrained", f"upstream.run={pretrained}")
    said = refusal(labels_of(tree, tmp_path, *model, "extraction.layer=2", *again))
    assert "a codebook for pretrained, layer 1, 50 Hz, 8 units" in said
    assert "these are pretrained, layer 2, 50 Hz, of size 32, of the same weights" in said
    small = [word for word in SMALL if word.startswith("upstream")]
    said = refusal(labels_of(tree, tmp_path, "upstream=hubert_new", *small, "extraction.layer=1", *again))
    assert "these are hubert_new, layer 1, 50 Hz, of size 32, of other weights" in said
    weights = ("upstream=hf", f"upstream.checkpoint={pretrained / 'huggingface'}")
    found = read(run(labels_of(tree, tmp_path, *weights, "extraction.layer=1", *again)), LabelsResult)
    assert (found.features["name"], found.features["layer"]) == ("hf", 1)
    assert (found.codebook_of["name"], found.codebook_of["layer"]) == ("pretrained", 1)
    # of the size and rate of kaldi_mfcc
    mfcc = ("upstream=mfcc", "upstream.num_coefficients=39", "upstream.num_mels=40")
    said = refusal(labels_of(tree, tmp_path, *mfcc, f"labelling.run={labels}"))
    assert "these are mfcc, layer 0, 100 Hz, of size 39, of other weights" in said


def test_a_published_model_is_trained_further_with_its_head(
    pretrained: Path, labels: Path, tree: Path, tmp_path: Path
) -> None:
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
    assert "(final_size 16 there, 256 here)" in refusal(given)
    given.append("prediction.final_size=16")
    codebook = Labels(labels / "labels").about.codebook
    other = labels_of(tree, tmp_path, "clustering=sklearn", "labelling.splits=[train,dev]")
    said = refusal([f"targets.run={run(other)}" if word.startswith("targets") else word for word in given])
    assert f"(codebook {codebook} there, " in said
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
    assert "is not the folder of a finished run of job=labels (not started)" in said
    said = refusal(
        [*labels_of(tree, tmp_path, "upstream=pretrained", f"upstream.run={pretrained}"), f"labelling.run={labels}"]
    )
    assert "features of size 39; these are pretrained, layer 0, 50 Hz, of size 32" in said
    said = refusal(labels_of(tree, tmp_path, "upstream=pretrained", f"upstream.run={pretrained}", "extraction.layer=7"))
    assert "the layers 0 to 2" in said
    said = refusal(labels_of(tree, tmp_path, "clustering.num_units=100000"))
    assert "100000" in said.replace(",", "")
    said = refusal(["job=pretrain", f"targets.run={labels}", f"output_root={tmp_path}", "upstream=fbank"])
    assert "cannot be pre-trained" in said
    said = refusal(labels_of(tree, tmp_path, "labelling.splits=[train,dev_dialect]"))
    assert "no dev_dialect utterance to label" in said


def test_labels_that_have_changed_are_refused(labels: Path, tmp_path: Path) -> None:
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


def test_unfinished_runs_are_noticed_before_anything_is_trained(
    labels: Path, second: Path, pretrained: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All labels are there, all weights too, and only the result is missing."""

    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("it has begun")

    monkeypatch.setattr("mlsuperb.pretraining.build.train", started)
    monkeypatch.setattr("mlsuperb.pretraining.labels_build.find_codebook", started)
    copy, model = shutil.copytree(labels, tmp_path / labels.name), shutil.copytree(pretrained, tmp_path / "model")
    (copy / "status.json").write_text(json.dumps({"state": "running"}))
    for folder in (copy, model):
        (folder / "result.json").unlink()
    unfinished = f"{copy} is not the folder of a finished run of job=labels (not finished)"
    out = tmp_path / "out"
    assert f"targets.run={unfinished}" in refusal(pretraining_of(copy, out))
    assert f"labelling.run={unfinished}" in refusal(labels_of(tree, out, f"labelling.run={copy}"))
    of_model = ("upstream=pretrained", f"upstream.run={model}")
    assert f"there is no file {model / 'result.json'}" in refusal(labels_of(tree, out, *of_model))
    going_on = ["job=pretrain", f"targets.run={second}", f"output_root={out}", *of_model, "trainer.device=cpu"]
    going_on.append("+upstream.regularisation=mask_embedding")
    assert f"there is no file {model / 'result.json'}" in refusal(going_on)
    assert "is a result of job pretrain, not of labels" in refusal(pretraining_of(pretrained, out))


@dataclass
class Measured:
    """A clustering that looks at the memory when it is called (tracemalloc follows numpy's)."""

    num_units: int

    def fit(self, features_FD: np.ndarray, **given: Any) -> SimpleNamespace:
        return SimpleNamespace(features_FD=features_FD, memory=tracemalloc.get_traced_memory(), **given)


class Numbered:
    """Features of a row: its number, at 50 Hz; handed out from the last row to the first."""

    size, rate_hz = 256, 50.0

    def of_rows(self, manifest: pd.DataFrame) -> Iterator[tuple[int, torch.Tensor]]:
        for row in reversed(range(len(manifest))):
            number = manifest["number"][row]
            length = round(manifest["duration_s"][row] * self.rate_hz) - number % 2
            yield row, torch.from_numpy(np.full((length, self.size), number, np.float32))


def clustered(manifest: pd.DataFrame, **settings: Any) -> Any:
    node = {"_target_": "mlsuperb.pretraining.labelling.LabelSettings", **settings}
    classes.bring([f"{__name__}.Measured"])
    config: Mapping[str, Any] = {
        "labelling": node, "clustering": {"_target_": f"{__name__}.Measured", "num_units": 8}, "seed": 0,
    }  # fmt: skip
    speech = labels_build.SpeechToLabel(
        manifest=manifest,
        features=Numbered(),
        features_record={},
        data_record={},
        inputs={},  # type: ignore[arg-type]
    )
    return labels_build.fit(config, speech)


def test_the_sample_is_in_memory_once_and_in_the_order_of_the_manifest() -> None:
    """In the order of rows whatever the order in which they are encoded, some of them several times."""
    rng, num = np.random.default_rng(0), 60
    manifest = pd.DataFrame(
        {
            "id": [f"u{at}" for at in range(num)], "split": "train", "number": np.arange(num), "dataset": "a",
            "language": ["deu", "swa"] * (num // 2), "duration_s": rng.uniform(1, 8, num) * np.tile([1, 0.2], num // 2),
        }
    )  # fmt: skip
    law = {"_target_": "mlsuperb.data.sampling.TwoLevel", "alpha": 0.0, "beta": 1.0, "by": "hours"}
    tracemalloc.start()
    try:
        found = clustered(manifest, sampling=law, frames_per_unit=1600)
    finally:
        tracemalloc.stop()
    lengths = (manifest["duration_s"] * 50).round().astype(int) - manifest["number"] % 2
    numbers, frames = np.unique(found.features_FD[:, 0].astype(int), return_counts=True)
    assert (np.diff(found.features_FD[:, 0]) >= 0).all()
    copies = frames / lengths[numbers]
    assert (copies == copies.round()).all()
    assert copies.max() > 1
    assert (found.features_FD == found.features_FD[:, :1]).all()
    assert found.record["sample"]["frames"] == len(found.features_FD)
    assert max(found.memory) < 1.25 * found.features_FD.nbytes


def test_more_frames_than_the_duration_gives_are_refused() -> None:
    manifest = pd.DataFrame(
        {"id": ["u0"], "split": "train", "number": [1], "dataset": "a", "language": "deu", "duration_s": [2.0]}
    )
    Longer = type("Longer", (Numbered,), {"of_rows": lambda self, rows: iter([(0, torch.zeros(107, self.size))])})
    with pytest.raises(ValueError, match=r"u0 has 107 frames at 50 Hz for 2.00 s of audio"):
        labels_build.stacked(Longer(), manifest, np.array([1]))


def test_labels_go_on_with_the_shards_that_they_were_begun_with(tree: Path, labels: Path, tmp_path: Path) -> None:
    overrides = labels_of(tree, tmp_path, "labelling.rows_per_shard=4")
    assert killed("shard", overrides) == -9
    again = run(labels_of(tree, tmp_path, "labelling.rows_per_shard=7"))
    assert len(list(tmp_path.glob("labels-*"))) == 1
    assert Labels(again / "labels").about.rows_per_shard == 4
    assert contents(again / "labels", "units-*.npy") == contents(labels / "labels", "units-*.npy")
    folder = LabelFolder(again / "labels", replace(Labels(again / "labels").about, num_units=9, rows_per_shard=7))
    with pytest.raises(
        ValueError, match=r"labels of another codebook or of other speech \(num_units 8 there, 9 here\)"
    ):
        folder.begin(pd.DataFrame())


def test_no_more_shards_are_done_than_there_are(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the first of three processes counts them; the others' shards are missing at the end, since there are none."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(Run, "status", lambda self, **progress: told.append(progress))
    alone = {name: getattr(ranks, name) for name in ("rank", "is_main", "main_first", "from_main", "gather", "wait")}
    monkeypatch.setattr(labels_build, "ranks", SimpleNamespace(**alone, world=lambda: 3))
    assert "lacks 2 of 4 shards" in refusal(labels_of(tree, tmp_path, "labelling.rows_per_shard=4"))
    assert [one["shards_done"] for one in told if "shards_done" in one] == [3, 4]


def test_settings_that_have_no_effect_and_devices_that_are_not_there() -> None:
    law = ("job=labels", "+labelling/sampling=two_level")
    assert not find_problems(compose(law), groups=("labelling",))
    (problem,) = find_problems(compose([*law, "labelling.sampling.by=utterances"]), groups=("labelling",))
    assert problem.startswith("labelling.sampling.by=utterances has no effect")
    (problem,) = find_problems(compose(["job=labels", "extraction.device=cuda:99"]), groups=("extraction",))
    assert problem.startswith("extraction.device=cuda:99 was asked for")
    with pytest.raises(ValueError, match=r"^--device=cuda:99 was asked for"):
        choose_device("cuda:99", setting="--device")
