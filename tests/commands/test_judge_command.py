"""`mlsuperb judge`: from folders to a table, JSON and a page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tiny_asr
from fake_judge import FakeRecogniser, write_references, write_system

from mlsuperb.commands.judge import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_references(tmp_path / "references.tsv")
    write_system(tmp_path / "rec")
    write_system(tmp_path / "weak", level=0.01)
    return tmp_path


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> FakeRecogniser:
    recogniser = FakeRecogniser()
    monkeypatch.setattr("mlsuperb.analysis.judging.asr.load_recogniser", lambda *_, **__: recogniser)
    return recogniser


def words(folder: Path, *more: str) -> list[str]:
    systems = [f"weak={folder / 'weak'}", f"recordings={folder / 'rec'}"]
    return [*systems, "--references", str(folder / "references.tsv"), "--asr", "fake", "--device", "cpu", *more]


def test_everything_is_written(folder: Path, faked: FakeRecogniser, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "new" / "out"
    main(words(folder, "--out", str(out), "--baseline", "recordings", "--format", "json"))
    rows = json.loads(capsys.readouterr().out)
    assert [row["system"] for row in rows] == ["recordings"] * 3 + ["weak"] * 3, "the floor comes first"
    written = json.loads((out / "judge.json").read_text(encoding="utf-8"))
    assert written["rows"] == rows
    assert (written["asr"]["checkpoint"], written["normaliser"]["name"], written["baseline"]) == (
        "fake",
        "spoken",
        "recordings",
    )
    assert len((out / "utterances.csv").read_text(encoding="utf-8").splitlines()) == 1 + 2 * 4
    assert (out / "report.html").read_text(encoding="utf-8").count("<audio ") == 8
    num_calls = len(faked.calls)
    main(words(folder, "--out", str(out)))
    assert len(faked.calls) == num_calls, "nothing is transcribed twice"
    assert re.search(r"weak +│ deu +│ +3 │", capsys.readouterr().out)


def test_a_corpus_by_its_settings(folder: Path, faked: FakeRecogniser, capsys: pytest.CaptureFixture[str]) -> None:
    """The settings stand among the systems or behind the flags; the corpus' own audio is judged without being asked for."""
    lines = (folder / "references.tsv").read_text(encoding="utf-8").splitlines()
    table = [
        "id\ttext\tlanguage\taudio",
        *(f"{line}\t{folder / 'rec'}/{line.split(chr(9))[0]}.wav" for line in lines[1:]),
    ]
    (folder / "test.tsv").write_text("\n".join(table) + "\n", encoding="utf-8")
    given = [f"weak={folder / 'weak'}", "data=table", "--asr", "fake", "--device", "cpu", "--format", "csv"]
    main([*given, f"data.test={folder / 'test.tsv'}"])
    rows = [line.split(",")[:3] for line in capsys.readouterr().out.splitlines() if not line.startswith("[")]
    assert ["recordings", "deu", "3"] in rows
    assert ["weak", "all", "4"] in rows
    (folder / "own" / "data").mkdir(parents=True)
    (folder / "own" / "data" / "mine.yaml").write_text(
        f"defaults: [table, _self_]\nname: mine\ntest: {folder / 'test.tsv'}\n"
    )
    main([*given[:1], "data=mine", *given[2:], "--config-dir", str(folder / "own")])
    assert "recordings,deu,3" in capsys.readouterr().out
    with pytest.raises(ValueError, match="recordings are the corpus' own audio here"):
        main([*given, f"data.test={folder / 'test.tsv'}", f"recordings={folder / 'rec'}"])


def test_a_real_checkpoint(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asr = tiny_asr.ctc(folder / "ctc")
    main([*words(folder, "--language", "deu", "--num", "2", "--format", "md"), "--asr", str(asr)])
    said = capsys.readouterr().out
    assert "Speech judged by ctc, greedy" in said
    assert "| weak | deu | 2 |" in said


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--baseline", "bas"], "--baseline bas is none of the systems; give one of weak, recordings"),
        (["data=kaldi"], "give either --references TABLE or the settings of a corpus"),
        (["--num", "0"], "--num is 0; give 1 or more"),
        (["weak=other"], "the system 'weak' is given twice"),
    ],
)
def test_mistakes_end_before_the_model_is_loaded(folder: Path, more: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main(words(folder, *more))


def test_stray_words_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words(folder, "--nothing"))
    assert "--nothing" in capsys.readouterr().err
