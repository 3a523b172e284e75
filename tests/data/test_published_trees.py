"""Common Voice, LibriSpeech and VoxLingua107 as their archives unpack."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from own_forms import wave, write_common_voice

from mlsuperb.data.corpora.common_voice import HELD_BACK, NO_TABLE, CommonVoice
from mlsuperb.data.corpora.librispeech import NO_PART, LibriSpeech
from mlsuperb.data.corpora.voxlingua import VoxLingua
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance


def test_common_voice_of_several_languages(tmp_path: Path) -> None:
    root = write_common_voice(tmp_path / "cv")
    prepared = prepare(CommonVoice(root=str(root)), folder=None)
    rows = {row.id: row for row in records(prepared.manifest, Utterance)}
    assert rows["a3"].text == 'er sagte "ja"'
    assert (rows["a3"].language, rows["a3"].dataset, rows["a3"].speaker) == ("deu", "commonvoice", "s3")
    assert rows["a3"].audio == str(root / "de" / "clips" / "a3.mp3")
    assert Counter(row.split for row in rows.values()) == {"train": 3, "dev": 2, "test": 2}
    assert prepared.skipped == {}
    german = prepare(CommonVoice(root=str(root), languages=["deu"]), folder=None).manifest
    assert set(german["language"]) == {"deu"}
    assert prepare(CommonVoice(root=str(root / "de")), folder=None).manifest["id"].tolist() == german["id"].tolist()


def test_validated_clips_but_for_those_that_are_tested_on(tmp_path: Path) -> None:
    root = write_common_voice(tmp_path / "cv")
    (root / "sw" / "dev.tsv").unlink()
    with open(root / "de" / "validated.tsv", "a", encoding="utf-8") as file:
        file.write("s9\tz9.mp3\tnoch eins\tde\n")
    wave(root / "de" / "clips", "z9.mp3")
    prepared = prepare(CommonVoice(root=str(root), train="validated"), folder=None)
    split = dict(zip(prepared.manifest["id"], prepared.manifest["split"], strict=True))
    assert split == {
        "a1": "train", "a2": "train", "a3": "train", "z9": "train", "b1": "dev", "b2": "train", "c1": "test", "c2": "test",
    }  # fmt: skip
    assert sorted(prepared.skipped[HELD_BACK]["examples"]) == ["b1", "c1", "c2"]
    assert prepared.skipped[NO_TABLE]["examples"] == ["sw/dev.tsv"]


def test_locales_of_chinese_are_those_of_speech(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = ["zh-HK", "zh-CN", "zh-TW", "nn-NO", "rm-vallader"]
    write_common_voice(tmp_path / "cv", {"train": [(f"u{label}", "x", label, "s") for label in labels]})
    found = prepare(CommonVoice(root=str(tmp_path / "cv")), folder=None).manifest
    codes = ["nno", "roh", "cmn", "yue", "cmn"]
    assert dict(zip(found["id"], found["language"], strict=True)) == dict(
        zip(sorted(f"u{one}" for one in labels), codes, strict=True)
    )
    assert "zh-HK = yue (Yue Chinese)" in caplog.text
    other = prepare(CommonVoice(root=str(tmp_path / "cv"), codes={"zh-TW": "nan"}), folder=None).manifest
    assert set(other["language"]) == {"nno", "roh", "cmn", "yue", "nan"}


@pytest.fixture
def libri(tmp_path: Path) -> Path:
    root = tmp_path / "LibriSpeech"
    for part, speaker in (("train-clean-100", "19"), ("dev-clean", "84"), ("test-clean", "61"), ("test-other", "367")):
        folder = root / part / speaker / "7"
        lines = [f"{speaker}-7-000{number} WORDS OF {number}" for number in range(2)]
        for line in lines:
            wave(folder, f"{line.split()[0]}.flac")
        (folder / f"{speaker}-7.trans.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_librispeech(libri: Path) -> None:
    prepared = prepare(LibriSpeech(root=str(libri)), folder=None)
    rows = records(prepared.manifest, Utterance)
    assert [(row.split, row.id, row.text, row.speaker) for row in rows][1:3] == [
        ("train", "19-7-0001", "WORDS OF 1", "19"),
        ("dev", "84-7-0000", "WORDS OF 0", "84"),
    ]
    assert {(row.language, row.dataset) for row in rows} == {("eng", "librispeech")}
    assert Counter(row.split for row in rows) == {"train": 2, "dev": 2, "test": 2}
    assert prepared.skipped[NO_PART]["examples"] == ["train-clean-360", "train-other-500"]
    other = LibriSpeech(root=str(libri / "LibriSpeech"), train=["train-clean-100"], test=["test-other"])
    assert prepare(other, folder=None).skipped == {}
    assert set(prepare(other, folder=None).manifest["speaker"]) == {"19", "84", "367"}


def test_voxlingua(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for code in ("de", "iw", "haw"):
        for video in range(12):
            for clip in range(2):
                wave(tmp_path / code, f"v{video}__U__S0---{clip:04d}.000-0005.000.wav")
        wave(tmp_path / "dev" / code, "w__U__S1.wav")
    (tmp_path / "de" / "notes.txt").write_text("x")
    prepared = prepare(VoxLingua(root=str(tmp_path), held_out=0.1), folder=None)
    rows = records(prepared.manifest, Utterance)
    assert {row.language for row in rows} == {"deu", "heb", "haw"}
    assert Counter((row.split, row.language) for row in rows)["test", "heb"] == 1
    assert Counter(row.split for row in rows) == {"train": 3 * 20, "dev": 3 * 4, "test": 3}
    videos = [{(row.language, row.speaker) for row in rows if row.split == split} for split in ("train", "dev")]
    assert not videos[0] & videos[1], "whole videos"
    assert {row.text for row in rows} == {""}
    assert prepared.skipped["file without the extension of an audio format"]["examples"] == ["de/notes.txt"]
    assert "iw = heb (Hebrew)" in caplog.text


def test_wrong_folders_are_explained(tmp_path: Path) -> None:
    cases = {
        CommonVoice: r"holds no folder with clips/ and tables\. Give the folder that holds a folder for each language",
        LibriSpeech: r"holds none of train-clean-100, .*test-clean\. Give the folder that holds train-clean-100",
        VoxLingua: r"holds no folder of a language\. Give the folder that holds a folder for each language",
    }
    for reader, message in cases.items():
        with pytest.raises(ValueError, match=message):
            prepare(reader(root=str(tmp_path)), folder=None)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match=r"data\.root=.*gone: there is no such folder"):
            prepare(reader(root=str(tmp_path / "gone")), folder=None)  # type: ignore[call-arg]
