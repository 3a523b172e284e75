"""A stored manifest is made again when the audio it was made of has come, gone or changed, and only then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_trees import ListCorpus, utterance, write_pair, write_wave

from mlsuperb.data import looks
from mlsuperb.data.audio_file import audio_info
from mlsuperb.data.checks import with_durations
from mlsuperb.data.corpora import base
from mlsuperb.data.corpora.base import Corpus
from mlsuperb.data.corpora.kaldi import Kaldi
from mlsuperb.data.corpora.ml_superb import MLSuperb
from mlsuperb.data.corpora.mls import MLS
from mlsuperb.data.corpora.several import Several
from mlsuperb.data.corpora.table import Table
from mlsuperb.data.prepared import prepare
from mlsuperb.runtime.files import stamp


def table(root: Path) -> Table:
    (root / "t.csv").write_text("id,audio,text\na,a.wav,hello\nb,b.wav,bye\n")
    return Table(train=str(root / "t.csv"), dev=None, test=None, language="eng")


def kaldi(root: Path) -> Kaldi:
    files = {"wav.scp": "ra a.wav\nrb b.wav\n", "segments": "a ra 0 1\nb rb 0 1\n", "text": "a hello\nb bye\n"}
    (root / "train").mkdir()
    for name, content in files.items():
        (root / "train" / name).write_text(content)
    return Kaldi(root=str(root), dev=None, test=None, language="eng", audio_root=str(root))


def ml_superb(root: Path) -> MLSuperb:
    folder = write_pair(root / "tree", "mls", "eng", {"1h_train": ["a 1 hello", "b 1 bye"]})
    (folder / "wav").rename(root / "kept")
    (folder / "wav").mkdir()
    for name in "ab":  # links: their folder does not change with what they name
        (folder / "wav" / f"{name}.wav").symlink_to(root / f"{name}.wav")
    return MLSuperb(root=str(root / "tree"), size="1h")


def mls(root: Path) -> MLS:
    folder = root / "mls_german" / "train"
    (folder / "audio" / "1" / "2").mkdir(parents=True)
    (folder / "transcripts.txt").write_text("1_2_a\thello\n1_2_b\tbye\n")
    for name in "ab":
        (folder / "audio" / "1" / "2" / f"1_2_{name}.flac").symlink_to(root / f"{name}.wav")
    return MLS(root=str(root))


def several(root: Path) -> Several:
    return Several(corpora={"one": table(root)})


@pytest.fixture
def usable_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each manifest that is made."""
    calls: list[int] = []
    original = Corpus.usable
    monkeypatch.setattr(Corpus, "usable", lambda *args, **given: calls.append(1) or original(*args, **given))
    return calls


@pytest.mark.parametrize("make", [table, kaldi, ml_superb, mls, several])
def test_changed_audio_is_looked_at_again(tmp_path: Path, make, usable_calls: list[int]) -> None:
    root, folder = tmp_path / "corpus", tmp_path / "m"
    wave = write_wave(root / "b.wav", duration_s=1.0)
    write_wave(root / "a.wav", duration_s=1.0)
    corpus = make(root)
    b = wave.read_bytes()
    wave.unlink()

    def found() -> tuple[int, dict[str, int], bool]:
        before = len(usable_calls)
        prepared = prepare(corpus, folder=folder)
        counts = {reason: entry["count"] for reason, entry in prepared.skipped.items() if "transcript" not in reason}
        return len(prepared.manifest), counts, len(usable_calls) > before

    assert found() == (1, {"missing audio file": 1}, True)
    assert found() == (1, {"missing audio file": 1}, False)
    wave.write_bytes(b[:20])
    assert found() == (1, {"unreadable audio file": 1}, True)
    wave.write_bytes(b)
    assert found() == (2, {}, True)
    assert found() == (2, {}, False)
    (root / "a.wav").unlink()
    assert found() == (1, {"missing audio file": 1}, True)


def test_durations_follow_a_file_that_changed_in_place(tmp_path: Path) -> None:
    corpus = table(tmp_path)
    for name in "ab":
        write_wave(tmp_path / f"{name}.wav", duration_s=1.0)
    assert prepare(corpus, folder=tmp_path / "m").manifest["duration_s"].tolist() == [1.0, 1.0]
    write_wave(tmp_path / "b.wav", duration_s=2.0)
    assert prepare(corpus, folder=tmp_path / "m").manifest["duration_s"].tolist() == [1.0, 2.0]
    write_wave(tmp_path / "b.wav", duration_s=30.0)
    assert prepare(corpus, folder=tmp_path / "m").skipped[base.TOO_LONG]["examples"] == ["b"]
    write_wave(tmp_path / "b.wav", duration_s=3.0)
    assert prepare(corpus, folder=tmp_path / "m").manifest["duration_s"].tolist() == [1.0, 3.0]


def test_only_files_that_changed_are_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        looks, "audio_info", lambda path, **given: asked.append(Path(path).name) or audio_info(path, **given)
    )
    rows = [utterance(tmp_path / f"{name}.wav") for name in "abcd"]
    for name in "abc":
        write_wave(tmp_path / f"{name}.wav", duration_s=1.0)
    (tmp_path / "c.wav").write_text("no audio")
    several = Several(corpora={"one": ListCorpus(given=rows[:2], files=[]), "other": ListCorpus(given=rows, files=[])})
    for corpus, folder in ((ListCorpus(given=rows, files=[]), tmp_path / "m"), (several, tmp_path / "s")):
        write_wave(tmp_path / "b.wav", duration_s=1.0)
        first = prepare(corpus, folder=folder)
        assert {"a.wav", "b.wav", "c.wav", "d.wav"} == set(asked)
        asked.clear()
        write_wave(tmp_path / "b.wav", duration_s=2.0)
        again = prepare(corpus, folder=folder)
        assert set(asked) == {"b.wav"}
        asked.clear()
        assert again.skipped == first.skipped
        lasting = first.manifest["duration_s"].mask(first.manifest["audio"] == str(tmp_path / "b.wav"), 2.0)
        assert again.manifest.equals(first.manifest.assign(duration_s=lasting))
        assert prepare(corpus, folder=None).manifest.equals(again.manifest)
        assert set(asked) == {"a.wav", "b.wav", "c.wav", "d.wav"}, "without a folder all are looked at"
        asked.clear()
    prepare(ListCorpus(given=rows, files=[], decode=False), folder=tmp_path / "m")
    assert len(asked) == 4, "a look without decoding is another look"


def test_a_file_that_arrives_while_headers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = table(tmp_path)
    write_wave(tmp_path / "a.wav")
    monkeypatch.setattr(
        base,
        "with_durations",
        lambda *args, **given: (with_durations(*args, **given), write_wave(tmp_path / "b.wav"))[0],
    )
    assert prepare(corpus, folder=tmp_path / "m").skipped["missing audio file"]["count"] == 1
    assert len(prepare(corpus, folder=tmp_path / "m").manifest) == 2


def test_of_many_files_all_audio_is_looked_at_on_demand_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "MANY_FILES", 1)
    asked: list[str] = []
    monkeypatch.setattr(looks, "stamp", lambda path: asked.append(Path(path).name) or stamp(path))
    rows = [utterance(tmp_path / f"{name}.wav") for name in "abc"]
    for name in "ab":
        write_wave(tmp_path / f"{name}.wav")
    corpus = ListCorpus(given=rows, files=[])
    prepare(corpus, folder=tmp_path / "m")
    asked.clear()
    prepare(corpus, folder=tmp_path / "m")
    assert asked == ["c.wav"], "the one that was absent"
    write_wave(tmp_path / "b.wav", duration_s=2.0)
    assert prepare(corpus, folder=tmp_path / "m").manifest["duration_s"].tolist() == [1.0, 1.0]
    assert prepare(corpus, folder=tmp_path / "m", look_at_audio=True).manifest["duration_s"].tolist() == [1.0, 2.0]
    asked.clear()
    assert prepare(corpus, folder=tmp_path / "m", look_at_audio=True).manifest["duration_s"].tolist() == [1.0, 2.0]
    assert sorted(asked) == ["a.wav", "b.wav", "c.wav"]


@pytest.mark.parametrize("content", ["[]", "{}", "7", '{"fingerprint": 1}', "\udcff"])
def test_a_damaged_report_is_made_again(tmp_path: Path, content: str) -> None:
    write_wave(tmp_path / "a.wav")
    first = prepare(table(tmp_path), folder=tmp_path / "m")
    report = tmp_path / "m" / "skipped.json"
    report.write_bytes(content.encode(errors="surrogateescape"))
    assert prepare(table(tmp_path), folder=tmp_path / "m").skipped == first.skipped
    assert json.loads(report.read_bytes())["skipped"] == first.skipped
