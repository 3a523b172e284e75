"""`mlsuperb units extract`: the files against the labels of a run, and what is refused."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_runs import made_phones, write_labels

sys.path.insert(0, str(Path(__file__).parents[1] / "pretraining"))
from pretraining_runs import labels_of, run, speech_tree

from mlsuperb.commands.units import main
from mlsuperb.units.codebook import Codebook
from mlsuperb.units.extraction import extract, read_units, without_repetitions
from mlsuperb.units.labels import Labels


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of job=labels."""
    root = tmp_path_factory.mktemp("labelled")
    return run(labels_of(speech_tree(root / "tree"), root / "exp", "labelling.splits=[train,dev,test]"))


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    """Labels of known content with their codebook."""
    folder = write_labels(tmp_path / "made", made_phones(6), noise=0.3) / "labels"
    features = {"name": "mhubert", "layer": 9}
    Codebook(centroids_KP=torch.zeros(8, 2), rate_hz=50.0, record={"features": features}).save(folder)
    return folder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "units.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_files_hold_the_labels_of_the_run(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["extract", str(labelled), "--out", str(tmp_path / "units"), "--tsv"])
    labels, found = Labels(labelled / "labels"), lines(tmp_path / "units")
    manifest = labels.manifest
    assert [one["id"] for one in found] == manifest["id"].tolist()
    for row, (one, expected) in enumerate(zip(found, labels, strict=True)):
        assert list(one) == ["id", "language", "dataset", "split", "speaker", "units", "durations"]
        runs = [(unit, len(list(frames))) for unit, frames in groupby(expected.tolist())]
        assert list(zip(one["units"], one["durations"], strict=True)) == runs
        assert {name: one[name] for name in ("language", "dataset", "split")} == {
            name: manifest[name][row] for name in ("language", "dataset", "split")
        }
        assert one["speaker"] is None
    book = Codebook.load(labelled / "labels")
    assert json.loads((tmp_path / "units" / "about.json").read_text()) == {
        "codebook": book.sha256,
        "rate_hz": 100.0,
        "num_units": 8,
        "features": book.record["features"],
        "run_id": labelled.name,
    }
    table = [line.split("\t") for line in (tmp_path / "units" / "units.tsv").read_text().splitlines()]
    assert table == [[one["id"], " ".join(map(str, one["units"]))] for one in found]
    assert f"{len(manifest)} utterances" in capsys.readouterr().out


def test_figures_are_those_of_the_result_of_the_run(labelled: Path, tmp_path: Path) -> None:
    usage = json.loads((labelled / "result.json").read_text())["units"]
    found = extract(labelled / "labels", tmp_path / "units", run_id="x")
    assert f"{usage['active']} of 8 units" in str(found)
    assert f"{1 / usage['mean_segment_s']:.1f} without repetitions; {usage['bitrate']:.0f} bit/s" in str(found)
    assert "units per second: 100.0," in str(found)


def test_what_is_written_is_read_as_it_was(by_hand: Path, tmp_path: Path) -> None:
    extract(by_hand, tmp_path / "units", run_id="labels-1")
    about, utterances = read_units(tmp_path / "units")
    assert (about.run_id, about.num_units, about.features) == ("labels-1", 8, {"name": "mhubert", "layer": 9})
    read = list(utterances)
    assert [one._asdict() for one in read] == lines(tmp_path / "units")
    for one, expected in zip(read, Labels(by_hand), strict=True):
        assert np.repeat(one.units, one.durations).tolist() == expected.tolist()
    assert {one.speaker for one in read} == {"s0", "s1"}


def test_splits_and_languages_are_chosen(labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "units"
    main(["extract", str(labelled), "--out", str(out), "--split", "test,dev", "--languages", "swa"])
    manifest = Labels(labelled / "labels").manifest
    wanted = manifest[manifest["split"].isin(["dev", "test"]) & (manifest["language"] == "swa")]
    assert [one["id"] for one in lines(out)] == wanted["id"].tolist()
    assert 0 < len(wanted) < len(manifest)
    main(["extract", str(labelled), "--out", str(out), "--split", "train"])  # an earlier extraction is replaced
    assert {one["split"] for one in lines(out)} == {"train"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "dev_dialect"], "no utterance of the split dev_dialect, only of dev, test, train"),
        (["--languages", "deu,wol"], "no utterance of wol; its languages there are deu, swa"),
        (["--languages", "wol", "--split", "test"], "no utterance of wol in test; its languages there are deu, swa"),
    ],
)
def test_what_was_not_labelled_is_refused(labelled: Path, tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        main(["extract", str(labelled), "--out", str(tmp_path / "units"), *words])
    assert "labelling.run=RUN" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_other_runs_and_unfinished_ones_are_refused(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "running"}')
    with pytest.raises(ValueError, match=r"not the folder of a finished run of job=labels \(not finished\)"):
        main(["extract", str(tmp_path), "--out", str(tmp_path / "units")])
    other = json.loads((labelled / "result.json").read_text()) | {"job": "pretrain"}
    (tmp_path / "result.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="is a result of job pretrain, not of labels"):
        main(["extract", str(tmp_path), "--out", str(tmp_path / "units")])


def test_labels_of_another_codebook_are_refused(by_hand: Path, tmp_path: Path) -> None:
    Codebook(centroids_KP=torch.ones(8, 2), rate_hz=50.0).save(by_hand)
    with pytest.raises(ValueError, match="is not the one that its labels were made with"):
        extract(by_hand, tmp_path / "units", run_id="x")


def test_a_folder_of_somebody_else_is_kept(by_hand: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds other things than units"):
        extract(by_hand, tmp_path / "mine", run_id="x")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_extraction_that_fails_leaves_the_earlier_one(
    by_hand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "units"
    extract(by_hand, out, run_id="x")
    before = (out / "units.jsonl").read_bytes()

    def broken(self: Labels, row: int) -> np.ndarray:
        raise OSError("the disk has gone")

    monkeypatch.setattr(Labels, "__getitem__", broken)
    with pytest.raises(OSError, match="gone"):
        extract(by_hand, out, run_id="x")
    assert (out / "units.jsonl").read_bytes() == before
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("line", ["{", '{"id": "a"}', "damaged units", "damaged durations"])
def test_damaged_lines_are_named(by_hand: Path, tmp_path: Path, line: str) -> None:
    extract(by_hand, tmp_path / "units", run_id="x")
    good = lines(tmp_path / "units")[0]
    damaged = {
        "damaged units": {**good, "units": [8] * len(good["units"])},
        "damaged durations": {**good, "durations": []},
    }
    text = json.dumps(damaged[line]) if line in damaged else line
    (tmp_path / "units" / "units.jsonl").write_text(json.dumps(good) + "\n" + text + "\n")
    with pytest.raises(ValueError, match=r"units\.jsonl, line 2, is no utterance in units from 0 to 7"):
        list(read_units(tmp_path / "units")[1])


def test_a_folder_without_units_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no units \(about\.json is missing\)"):
        read_units(tmp_path)


def test_repetitions() -> None:
    units_R, durations_R = without_repetitions(np.array([3, 3, 0, 0, 0, 3, 5], np.uint16))
    assert (units_R.tolist(), durations_R.tolist()) == ([3, 0, 3, 5], [2, 3, 1, 1])
    units_R, durations_R = without_repetitions(np.zeros(0, np.uint16))
    assert (units_R.tolist(), durations_R.tolist()) == ([], [])
