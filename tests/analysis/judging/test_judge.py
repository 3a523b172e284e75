"""Judging of systems: figures by hand, transcripts that are kept, tables and the page."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pandas as pd
import pytest
from fake_judge import LANGUAGES, TEXTS, FakeRecogniser, no_bar, tone, write_references, write_system

from mlsuperb.analysis.judging import sound
from mlsuperb.analysis.judging.inputs import (
    RECORDINGS,
    read_references,
    read_system,
    references_of,
    resampled,
    split_words,
)
from mlsuperb.analysis.judging.page import judge_page
from mlsuperb.analysis.judging.scores import Judged, compared, judge, judge_rows, unspaced
from mlsuperb.analysis.judging.sound import DNSMOS, dnsmos_rater, measure
from mlsuperb.analysis.judging.table import judge_table, remarks, utterance_table
from mlsuperb.analysis.judging.transcripts import Transcripts
from mlsuperb.analysis.report.page import render
from mlsuperb.data.manifest import to_frame
from mlsuperb.types import Utterance


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_references(tmp_path / "references.tsv")
    write_system(tmp_path / "recordings")
    write_system(tmp_path / "weak", level=0.01)
    return tmp_path


def judged(
    folder: Path, *names: str, recogniser: FakeRecogniser | None = None, kept: Path | None = None
) -> list[Judged]:
    recogniser = recogniser or FakeRecogniser()
    references = read_references(folder / "references.tsv", language=None, split="test", num=None).utterances
    systems = [read_system(name, folder / name, references) for name in names]
    known = Transcripts(kept, record=recogniser.record)
    return judge(systems, references, recogniser, known, dnsmos=None, progress=no_bar)


def test_rates_by_hand(folder: Path) -> None:
    """`guten tag`, `wie geht es ihnen`, `und tschüss`: 37 characters and 8 words, of which 1, 4 and 0 E become X."""
    rows = {
        (row.system, row.language): row for row in judge_rows(judged(folder, RECORDINGS, "weak"), baseline=RECORDINGS)
    }
    assert list(rows) == [(name, language) for name in (RECORDINGS, "weak") for language in ("cmn", "deu", "all")]
    clean, weak = rows[RECORDINGS, "deu"], rows["weak", "deu"]
    assert clean.wer is not None
    assert clean.cer is not None
    assert (clean.wer.value, clean.cer.value, clean.cer_change) == (0, 0, None)
    assert weak.wer is not None
    assert weak.cer is not None
    assert weak.cer.value == pytest.approx(100 * 5 / 37)
    assert weak.wer.value == pytest.approx(100 * 5 / 8)
    assert weak.cer.low < weak.cer.value < weak.cer.high
    assert weak.cer_change is not None
    assert weak.cer_change.value == pytest.approx(weak.cer.value)
    chinese, everything = rows["weak", "cmn"], rows["weak", "all"]
    assert chinese.wer is None, "no words without spaces"
    assert chinese.cer is not None
    assert (chinese.cer.value, math.isnan(chinese.cer.low)) == (0, True)
    assert everything.cer is not None
    assert everything.cer.value == pytest.approx(100 * 5 / 41), "the space between the four characters does not count"


def test_sounds_by_hand(folder: Path) -> None:
    clean, weak = (row for row in judge_rows(judged(folder, RECORDINGS, "weak")) if row.language == "all")
    assert clean.level_dbfs == pytest.approx(-20, abs=0.2)
    assert weak.level_dbfs == pytest.approx(-40, abs=0.2)
    assert weak.total_s == pytest.approx(1.6)
    assert weak.duration_ratio == pytest.approx(1)
    assert clean.mcd_db is None, "of the recordings themselves"
    assert weak.mcd_db == pytest.approx(0, abs=0.01), "a level is no distortion"
    silent = measure(0 * tone("utt1"), tone("utt1", seconds=0.8), dnsmos=None)
    assert (silent.level_dbfs, silent.duration_s, silent.recording_s) == (None, 0.4, 0.8)


def test_text_is_compared_as_it_sounds() -> None:
    assert compared("«С приветом», — сказал он: Из-за дома…", "rus") == "с приветом сказал он изза дома"
    assert compared("Don’t   it's", "eng") == "dont its"
    assert compared("नमस्ते, दुनिया।", "hin") == "नमस्ते दुनिया"
    assert compared("e\u0301", "fra") == compared("\u00e9", "fra")
    assert compared("你好，世界 。", "cmn") == "你好世界"


def test_transcripts_are_kept_and_a_killed_call_goes_on(folder: Path) -> None:
    kept = folder / "transcripts.jsonl"
    killed = FakeRecogniser(dies_after=2)
    with pytest.raises(KeyboardInterrupt):
        judged(folder, RECORDINGS, "weak", recogniser=killed, kept=kept)
    assert killed.calls == [("cmn", 1), ("deu", 2)]
    with kept.open("a", encoding="utf-8") as file:
        file.write('{"key": "cut o')
    second = FakeRecogniser()
    found = judged(folder, RECORDINGS, "weak", recogniser=second, kept=kept)
    assert second.calls == [("deu", 1), ("cmn", 1), ("deu", 2), ("deu", 1)]
    assert utterance_table(found).equals(utterance_table(judged(folder, RECORDINGS, "weak")))
    third = FakeRecogniser()
    judged(folder, RECORDINGS, "weak", recogniser=third, kept=kept)
    assert third.calls == []
    write_system(folder / "weak", level=0.012, names=["utt2"])
    judged(folder, RECORDINGS, "weak", recogniser=third, kept=kept)
    assert third.calls == [("deu", 1)], "what was synthesised anew is transcribed anew"
    other = FakeRecogniser()
    other.record = {"checkpoint": "other"}
    judged(folder, RECORDINGS, recogniser=other, kept=kept)
    assert len(other.calls) == 3, "another ASR model has transcripts of its own"


def test_equal_audio_is_transcribed_once(folder: Path) -> None:
    write_system(folder / "copy")
    recogniser = FakeRecogniser()
    judged(folder, RECORDINGS, "copy", recogniser=recogniser)
    assert sum(number for _, number in recogniser.calls) == len(TEXTS)


def test_a_damaged_file_of_transcripts_is_named(folder: Path) -> None:
    kept = folder / "transcripts.jsonl"
    kept.write_text('{"key": "a"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"transcripts\.jsonl, line 1 is no transcript"):
        judged(folder, RECORDINGS, kept=kept)


def test_table_remarks_and_records(folder: Path) -> None:
    found = judged(folder, "weak", RECORDINGS)
    rows = judge_rows(found, baseline="weak")
    cells = judge_table(rows, judge="fake", baseline="weak")
    assert cells.columns[3:7] == ("WER % ↓", "CER % ↓", "WER - weak", "CER - weak")
    assert all(len(row) == len(cells.columns) for row in cells.rows)
    line = dict(zip(cells.columns, cells.rows[4], strict=True))
    assert (line["system"], line["language"]) == (RECORDINGS, "deu")
    assert line["CER - weak"].startswith("-13.5 [")
    said = "\n".join(remarks(found, rows, baseline="weak"))
    assert "no WER of cmn: written without spaces" in said
    assert "DNSMOS is left out: it needs the packages speechmos" in said
    assert "there is no system recordings" not in said
    alone = judge_rows(judged(folder, "weak"))
    assert "there is no system recordings" in "\n".join(remarks(judged(folder, "weak"), alone, baseline=None))
    record = json.loads(json.dumps(rows[0].record(), allow_nan=False))
    assert (record["language"], record["wer"], record["cer"], record["cer_low"]) == ("cmn", None, 0, None)
    with pytest.raises(ValueError, match=r"--baseline bas is none of the systems; give one of weak, recordings"):
        judge_rows(found, baseline="bas")


def test_a_language_the_judge_does_not_know_ends_before_any_work(folder: Path) -> None:
    references = folder / "references.tsv"
    references.write_text(references.read_text(encoding="utf-8").replace("cmn", "wol"), encoding="utf-8")
    recogniser = FakeRecogniser()
    with pytest.raises(
        ValueError, match=r"--asr fake cannot judge these utterances: it has no token for wol\. Give another"
    ):
        judged(folder, RECORDINGS, recogniser=recogniser)
    assert recogniser.calls == []


def test_the_page_has_all_systems_and_no_link(folder: Path) -> None:
    found = judged(folder, RECORDINGS, "weak")
    rows = judge_rows(found)
    html = render(judge_page(found, rows, ["a remark"], judge="fake", baseline=None, num_shown=2), figures="figures")
    assert html.count("<audio ") == 2 * 3, "two of three German utterances and the Chinese one, of both systems"
    assert "http" not in html.replace("http-equiv", "")
    assert "weak: CER 0.0 %" in html, "the Chinese one"
    assert len(set(re.findall(r"weak: CER (\d+\.\d) %", html)) & {"11.1", "23.5", "0.0"}) >= 2
    assert "German (deu)" in html


def test_references_of_a_table(tmp_path: Path) -> None:
    path = write_references(tmp_path / "with.tsv")
    references = read_references(path, language="deu", split="test", num=None).utterances
    assert [one.id for one in references] == ["utt1", "utt2", "utt4"]
    assert references == read_references(path, language="deu", split="test", num=9).utterances
    assert len(read_references(path, language=None, split="test", num=1).utterances) == 2
    plain = write_references(tmp_path / "without.tsv", with_language=False)
    assert {one.language for one in read_references(plain, language="deu", split="test", num=None).utterances} == {
        "deu"
    }
    with pytest.raises(ValueError, match=r"lacks the column language \(or give --language\); it has utterance, text"):
        read_references(plain, language=None, split="test", num=None)
    with pytest.raises(ValueError, match=r"no utterance is in 'rus'; there are cmn, deu"):
        read_references(path, language="rus", split="test", num=None)
    with pytest.raises(ValueError, match=r"'xx' is not an ISO 639-3 language code"):
        read_references(plain, language="xx", split="test", num=None)
    path.write_text(path.read_text(encoding="utf-8") + "utt1\tnoch einmal\tdeu\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"1 ids stand there more than once \(utt1\)"):
        read_references(path, language=None, split="test", num=None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", "text,id,language\nja, gut,u1,deu\n", r"r\.csv, line 2: 4 fields"),
        ("r.jsonl", '{"id": "u1", "text": ["ja"], "language": "deu"}', r"r\.jsonl, line 1: text is a list, not text"),
        ("r.jsonl", '[{"id": "u1"}]', r"r\.jsonl, line 1: this is a list, not a JSON object"),
    ],
)
def test_damaged_references_are_named_with_their_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_references(tmp_path / name, language=None, split="test", num=None)


def test_references_may_have_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"id": "u1", "text": "ja", "language": "deu", "tokens": ["ja"]}', encoding="utf-8")
    (one,) = read_references(path, language=None, split="test", num=None).utterances
    assert one == ("u1", "deu", "ja")


def manifest(folder: Path) -> pd.DataFrame:
    common = {"start_s": 0.1, "duration_s": 0.3, "dataset": "d", "split": "test"}
    return to_frame(
        [
            Utterance(id=name, audio=str(folder / f"{name}.wav"), text=text, language=LANGUAGES[name], **common)
            for name, text in TEXTS.items()
        ]
    )


def test_a_corpus_brings_its_recordings(folder: Path) -> None:
    references = references_of(manifest(folder / "recordings"), split="test", language="deu", num=None)
    assert references.recordings is not None
    assert references.recordings.name == RECORDINGS
    assert len(references.recordings.clips[0].wave()) == 4800, "the segment, not the file"
    with pytest.raises(ValueError, match=r"there is no split 'dev'; give one of test"):
        references_of(manifest(folder / "recordings"), split="dev", language=None, num=None)
    with pytest.raises(ValueError, match=r"split test: none of the 4 utterances has a text"):
        references_of(manifest(folder / "recordings").assign(text=""), split="test", language=None, num=None)


def test_systems_on_disk(folder: Path) -> None:
    references = read_references(folder / "references.tsv", language=None, split="test", num=None).utterances
    (folder / "weak" / "utt2.wav").unlink()
    with pytest.raises(ValueError, match=r"lacks 1 of 4 utterances \(utt2\.wav\)"):
        read_system("weak", folder / "weak", references)
    with pytest.raises(ValueError, match="there is no such folder"):
        read_system("none", folder / "none", references)
    write_system(folder / "eight", rate_hz=8000, names=["utt1", "utt2"])
    write_system(folder / "eight", names=["utt3", "utt4"])
    system = read_system("eight", folder / "eight", references)
    assert resampled([system]) == ["eight: 2 files of 8,000 Hz were resampled to 16,000 Hz"]
    assert len(system.clips[0].wave()) == 6400


def test_words_of_the_command_line() -> None:
    words = ["a=x", "data=kaldi", "b=y=z", "data.root=/r", "+data.new=1"]
    assert split_words(words) == ({"a": Path("x"), "b": Path("y=z")}, ["data=kaldi", "data.root=/r", "+data.new=1"])
    with pytest.raises(ValueError, match=r"'folder' is no system; give NAME=FOLDER"):
        split_words(["folder"])
    with pytest.raises(ValueError, match="is given twice"):
        split_words(["a=x", "a=y"])


def test_dnsmos_is_asked_as_its_package_wants_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Package:
        @staticmethod
        def run(sample: object, sr: int) -> dict[str, float]:
            assert abs(sample).max() <= 1  # type: ignore[arg-type]
            assert sr == 16000
            return {"ovrl_mos": 3.0, "sig_mos": 3.5, "bak_mos": 4.0, "p808_mos": 2.5}

    assert dnsmos_rater() is None, "the packages are not among those of the tests"
    monkeypatch.setattr(sound, "find_spec", lambda _: True)
    monkeypatch.setattr(sound, "import_module", lambda _: Package)
    found = measure(20 * tone("utt1"), None, dnsmos=dnsmos_rater())
    assert found.dnsmos == dict(zip(DNSMOS.values(), (3.0, 3.5, 4.0, 2.5), strict=True))


def test_languages_without_spaces_are_those_of_wer_cer_and_some_more() -> None:
    assert all(unspaced(code) for code in ("org_jpn", "cmn", "zh-CN", "bod", "nan"))
    assert compared("あ い", "ja") == "あい"
    assert not unspaced("deu")
