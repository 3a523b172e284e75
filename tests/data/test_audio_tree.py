from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus_trees import write_wave

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.data.corpora.audio_tree import MISPLACED, NO_AUDIO, NOT_UTF8, AudioTree
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name in (
        "books/deu/wav/b.ogg",
        "books/deu/wav/a.flac",
        "books/deu/wav/anna/one/a.wav",
        "radio/nan/a.WAV",
        "radio/nan/otto/a.wav",
        "radio/fas/wav/c.wav",
        "astray.wav",
    ):
        write_wave(tree / name)
    write_wave(tree / "radio/fas/wav/long.wav", duration_s=31.0)
    (tree / "README.md").write_text("about")
    (tree / "books/deu/transcript.txt").write_text("a text")
    return tree


def test_every_audio_file_of_the_tree_is_a_training_utterance_without_text(root: Path) -> None:
    prepared = prepare(AudioTree(root=str(root)), folder=None)
    rows = records(prepared.manifest, Utterance)
    assert [(row.id, row.dataset, row.language, row.speaker) for row in rows] == [
        ("books/deu/wav/a.flac", "books", "deu", ""),
        ("books/deu/wav/b.ogg", "books", "deu", ""),
        ("books/deu/wav/anna/one/a.wav", "books", "deu", "anna"),
        ("radio/fas/wav/c.wav", "radio", "fas", ""),
        ("radio/nan/a.WAV", "radio", "nan", ""),
        ("radio/nan/otto/a.wav", "radio", "nan", "otto"),
    ]
    assert {(row.split, row.text, row.duration_s) for row in rows} == {("train", "", 1.0)}
    assert all(row.audio == str(root / row.id) for row in rows)
    assert {reason: entry["examples"] for reason, entry in prepared.skipped.items()} == {
        NO_AUDIO: ["README.md", "books/deu/transcript.txt"],
        MISPLACED: ["astray.wav"],
        "longer than max_duration_s": ["radio/fas/wav/long.wav"],
    }


def test_names_that_are_not_utf8_are_counted(root: Path) -> None:
    os.rename(root / "books/deu/wav/b.ogg", os.fsencode(root / "books/deu/wav") + b"/\xfcber.ogg")
    prepared = prepare(AudioTree(root=str(root)), folder=root.parent / "m")
    assert len(prepared.manifest) == 5
    assert prepared.skipped[NOT_UTF8]["examples"] == ["books/deu/wav/\ufffdber.ogg"]


def test_languages_and_datasets_are_chosen(root: Path) -> None:
    def ids(**settings: list[str]) -> list[str]:
        prepared = prepare(AudioTree(root=str(root), **settings), folder=None)  # type: ignore[arg-type]
        return prepared.manifest["id"].tolist()

    assert ids(languages=["nan"]) == ["radio/nan/a.WAV", "radio/nan/otto/a.wav"]
    assert ids(datasets=["radio"], languages=["deu", "fas"][1:]) == ["radio/fas/wav/c.wav"]


def test_a_new_file_anywhere_makes_the_stored_manifest_stale(root: Path, tmp_path: Path) -> None:
    corpus = AudioTree(root=str(root))
    assert len(prepare(corpus, folder=tmp_path / "m").manifest) == 6
    folder = root / "books/deu/wav/anna/one"
    os.utime(folder, (1, 1))
    write_wave(folder / "b.wav")
    assert len(prepare(corpus, folder=tmp_path / "m").manifest) == 7


def test_mistakes_are_explained(root: Path, tmp_path: Path) -> None:
    write_wave(root / "books" / "de" / "a.wav")
    with pytest.raises(ValueError, match=r"language of 'books/de/a\.wav': 'de' is not an ISO.*'deu'"):
        prepare(AudioTree(root=str(root)), folder=None)
    with pytest.raises(ValueError, match=r"data\.root=.*gone: there is no such folder"):
        prepare(AudioTree(root=str(tmp_path / "gone")), folder=None)
    with pytest.raises(ValueError, match=r"holds no folder <dataset>/<language>"):
        prepare(AudioTree(root=str(root / "books" / "de")), folder=None)


def test_it_is_chosen_by_name_and_has_no_texts_to_ask_for(root: Path) -> None:
    overrides = ["data=audio_tree", f"data.root={root}"]
    assert find_problems(compose(overrides), groups=("data",)) == []
    (problem,) = find_problems(compose([*overrides, "+data.text=required"]), groups=("data",))
    assert "nothing reads the setting 'data.text'" in problem
