"""Phone marks as the text of utterances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from corpus_trees import ListCorpus, utterance, write_wave

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.data.manifest import to_frame
from mlsuperb.data.prepared import prepare
from mlsuperb.units.phone_marks import NO_MARKS, PhoneMarks


def test_phones_stand_in_the_place_of_transcripts(tmp_path: Path) -> None:
    marks = tmp_path / "phones.tsv"
    lines = ("a\t0\t0.1\tSIL", "a\t0.1\t0.2\tˈa", "a\t0.2\t0.3\tg", "b\t0\t0.1\tt͡ʃ", "c\t0\t1\tpau")
    marks.write_text("\n".join(lines), encoding="utf-8")
    texts = {"a": "written", "b": "", "c": "of a pause", "d": "without marks"}
    rows = [utterance(write_wave(tmp_path / f"{name}.wav"), text=text) for name, text in texts.items()]
    corpus = ListCorpus(given=rows, files=[], phones=PhoneMarks(path=str(marks)))
    found = prepare(corpus, folder=tmp_path / "out")
    assert dict(zip(found.manifest["id"], found.manifest["text"], strict=True)) == {"a": "a ɡ", "b": "t͡ʃ"}
    assert found.skipped[NO_MARKS]["examples"] == ["c", "d"]
    marks.write_text("a\t0\t0.1\te\n")
    assert list(
        prepare(replace(corpus, phones=PhoneMarks(path=str(tmp_path))), folder=tmp_path / "out").manifest["text"]
    ) == ["e"]


def test_marks_of_another_notation_have_their_ipa_from_a_map(tmp_path: Path) -> None:
    (tmp_path / "phones.tsv").write_text("a\t0\t0.1\tAH0\na\t0.1\t0.2\tll\na\t0.2\t0.3\tAH1\na\t0.3\t0.4\tpau\n")
    (tmp_path / "map.tsv").write_text("AH0\tə\nAH\tʌ\nll\tl\n", encoding="utf-8")
    source = PhoneMarks(path=str(tmp_path / "phones.tsv"), map=str(tmp_path / "map.tsv"))
    (found,) = source.spoken(to_frame([utterance("a.wav")]), language="eng")
    assert found.phones == ("ə", "l", "ʌ")
    assert source.sources() == [tmp_path / "phones.tsv", tmp_path / "map.tsv"]


def test_marks_that_are_not_there_are_named_before(tmp_path: Path) -> None:
    overrides = ["+exp=phones/asr", "data/phones=marks", f"data.phones.path={tmp_path / 'absent'}"]
    (found,) = find_problems(compose(overrides), groups=("data",))
    assert "absent: there is no such file or folder. Give the phone marks of this corpus" in found


@pytest.mark.parametrize("kind", ["phones.tsv", "b/one.TextGrid", "c/one.lab"])
def test_the_files_that_make_a_manifest_stale(kind: str, tmp_path: Path) -> None:
    (tmp_path / kind).parent.mkdir(exist_ok=True)
    (tmp_path / kind).write_text("")
    assert PhoneMarks(path=str(tmp_path)).sources() == [tmp_path / kind]
