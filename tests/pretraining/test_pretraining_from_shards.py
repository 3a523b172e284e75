"""Pre-training on speech in shards: the same as on files, and resumed the same when it reads window by window."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from pretraining_runs import killed, labels_of, pretraining_of, run, speech_tree

from mlsuperb.commands.data import main
from mlsuperb.pretraining.result import PretrainingResult
from mlsuperb.runs.store import read
from mlsuperb.units.labels import Labels

WINDOWS = (f"+loading.window_h={20 / 3600}", "+loading/sampling=two_level")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speech_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def labels(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(labels_of(tree, tmp_path_factory.mktemp("labels")))


@pytest.fixture(scope="module")
def shards(tree: Path, labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("lhotse", reason="the extra lhotse is not installed", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("shards")
    assert main(shard_words(tree, labels, folder / "out")) == 0
    return folder / "out"


def shard_words(tree: Path, labels: Path, out: Path) -> list[str]:
    words = [
        "shard",
        "data=ml_superb_10min",
        f"data.root={tree}",
        "data.few_shot=all",
        f"manifests={out.parent / 'manifests'}",
    ]
    return [*words, "--out", str(out), "--labels", str(labels), "--hours-per-shard", str(5 / 3600)]


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_model_from_shards_is_the_model_from_files(labels: Path, shards: Path, tmp_path: Path) -> None:
    files = run(pretraining_of(labels, tmp_path, "trainer.max_epochs=1"))
    same = run(pretraining_of(labels, tmp_path, "trainer.max_epochs=1", f"+targets.shards={shards}"))
    assert files != same
    assert weights(files) == weights(same)


def test_units_in_shards_are_those_of_the_labels(labels: Path, shards: Path) -> None:
    from lhotse import CutSet

    found = Labels(labels / "labels")
    of = {name: found[row].tolist() for row, name in enumerate(found.manifest["id"])}
    cuts = [cut for split in ("train", "dev") for cut in CutSet.from_shar(in_dir=shards / split)]
    assert {cut.id: cut.load_units().tolist() for cut in cuts} == of
    assert cuts[0].units.frame_shift == 0.01


def test_a_training_that_reads_windows_ends_the_same_when_it_was_killed(
    labels: Path, shards: Path, tmp_path: Path
) -> None:
    more = (f"+targets.shards={shards}", *WINDOWS)
    whole = run(pretraining_of(labels, tmp_path / "whole", *more))
    overrides = pretraining_of(labels, tmp_path / "killed", *more)
    assert killed("step", overrides) == -9
    assert weights(run(overrides)) == weights(whole)


def test_shards_can_be_labelled_and_trained_on_alone(shards: Path, tmp_path: Path) -> None:
    labelled = run(["job=labels", "data=shar", f"data.root={shards}", "clustering.num_units=8", f"output_root={tmp_path}",
                    "extraction.device=cpu"])  # fmt: skip
    found = Labels(labelled / "labels")
    archives = found.manifest["audio"].str.rpartition("#")[0]
    assert int((archives != archives.shift()).sum()) == archives.nunique(), "labels lie in the order of the shards"
    trained = run(pretraining_of(labelled, tmp_path, "trainer.max_epochs=1", *WINDOWS))
    assert np.isfinite(read(trained, PretrainingResult).scores["all"]["loss"])


def test_what_the_command_refuses(
    tree: Path, labels: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shard_words(tree, labels, tmp_path / "out")
    assert main([*words[:5], "--out", str(shards), "--part", "3/3"]) == 2
    assert "--part 3/3: give I/N" in capsys.readouterr().err
    assert main(words[:5]) == 2
    assert "mlsuperb data shard needs --out FOLDER" in capsys.readouterr().err
    assert main([*words, "data.languages=[swa]", "--labels", str(tmp_path)]) == 2
    assert "holds no labels" in capsys.readouterr().err
    assert main([*words[:5], "--out", str(shards), "--codec", "opus"]) == 2
    assert "holds shards of other speech" in capsys.readouterr().err
    problem = pretraining_of(labels, tmp_path, f"+targets.shards={tmp_path}")
    with pytest.raises(ValueError, match=r"targets\.shards=.* is not a folder that mlsuperb data shard wrote"):
        run(problem)
    with pytest.raises(ValueError, match=r"loading\.window_h is for speech in shards"):
        run(pretraining_of(labels, tmp_path, "+loading.window_h=1"))
