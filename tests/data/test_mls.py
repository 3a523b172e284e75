from __future__ import annotations

from pathlib import Path

import pytest
from corpus_trees import write_wave

from mlsuperb.data.corpora.mls import MLS, NO_TEXT, NO_TRANSCRIPTS, STRAY
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance

LINES = {"german": ["1_2_000001\tein wort", "1_2_000002\t"], "dutch": ["3_4_000001\teen woord"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for language, lines in LINES.items():
        folder = tmp_path / f"mls_{language}" / "train"
        for line in lines:
            name = line.split("\t")[0]
            write_wave(folder / "audio" / name.split("_")[0] / name.split("_")[1] / f"{name}.flac")
        (folder / "transcripts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "mls_lm_german").mkdir()
    return tmp_path


def test_rows_and_what_is_passed_over(root: Path) -> None:
    prepared = prepare(MLS(root=str(root)), folder=None)
    rows = records(prepared.manifest, Utterance)
    assert [(row.id, row.language, row.text, row.speaker, row.split, row.duration_s) for row in rows] == [
        ("nld_3_4_000001", "nld", "een woord", "3", "train", 1.0),
        ("deu_1_2_000001", "deu", "ein wort", "1", "train", 1.0),
    ]
    counts = {reason: entry["count"] for reason, entry in prepared.skipped.items()}
    assert counts == {NO_TRANSCRIPTS: 4, NO_TEXT: 1, STRAY: 1}


def test_languages_are_chosen(root: Path) -> None:
    assert set(prepare(MLS(root=str(root), languages=["nld"]), folder=None).manifest["language"]) == {"nld"}


def test_mistakes_are_explained(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.root=.*dutch holds no folder mls_LANGUAGE\. Give the folder"):
        prepare(MLS(root=str(root / "mls_dutch")), folder=None)
    (root / "mls_dutch" / "train" / "transcripts.txt").write_text("one\twoord\n")
    with pytest.raises(ValueError, match=r"transcripts\.txt: 'one' is not <speaker>_<book>_<number>"):
        prepare(MLS(root=str(root)), folder=None)
