"""A report of phones speaks of phones, and has the phone error rate of `per_pfer`."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from finished_runs import built, facts, write_built

from mlsuperb.analysis.report import pictures
from mlsuperb.analysis.report.one_run import one_run_page
from mlsuperb.analysis.report.page import render
from mlsuperb.analysis.report.several import several_runs_page
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.runs import LoadedRun, load_run
from mlsuperb.commands.compare import main as compare
from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.scoring.page.blocks import Note, Table

# Five substitutions; sclite's weights prefer six insertions and deletions
REFERENCE, OUTPUT = "a b k d e", "d e s t z"


@pytest.fixture
def runs(tmp_path: Path, utterance) -> list[LoadedRun]:
    found = []
    for number, output in enumerate((OUTPUT, REFERENCE)):
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        ones = [
            utterance("deu", f"{REFERENCE} {'o ' * place}", f"{output} o", id=f"fleurs_deu_{place:06d}")
            for place in range(5)
        ]
        write_hypotheses(folder / "hypotheses.jsonl", ones)
        (folder / "tokens.txt").write_text("".join(f"{token}\n" for token in "abdeostz"))
        units = facts("asr", units="phone", normaliser="raw")
        write_built(folder, built(ones, units, run_id=f"run-{number}", seed=number, config={"seed": number}))
        found.append(load_run(folder))
    return found


def text_of(page) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", render(page, figures="figures"))).split())


def test_wrong_phones_are_counted(runs: list[LoadedRun]) -> None:
    [substitutions, others] = [one for one in pictures.wrong_units(runs[0]).blocks if isinstance(one, Table)]
    times = [sum(int(row[2].text) for row in table.rows) for table in (substitutions, others)]
    assert times == [
        sum(one.substitutions for one in runs[0].counts),
        sum(one.insertions + one.deletions for one in runs[0].counts),
    ]
    assert min(times) > 0, "or this test shows nothing"
    assert "% of the phone" in others.columns
    [note] = pictures.wrong_units(replace(runs[0], hypotheses=[
        replace(one, hypothesis=one.reference) for one in runs[0].hypotheses
    ])).blocks  # fmt: skip
    assert note == Note(text="Every phone is right.")


def test_errors_are_those_of_per_pfer(runs: list[LoadedRun], capsys: pytest.CaptureFixture[str]) -> None:
    first = runs[0]
    section = first.result.protocols.sections["per_pfer"]
    per = section.per_language["test"]["deu"]["per"]
    assert section.metrics["test"]["micro_per"].value == pytest.approx(per)
    assert first.result.protocols.sections["v1"].metrics["test"]["trained_per"].value > per, (
        "or this test shows nothing"
    )
    [languages] = [one for one in pictures.languages(first).blocks if isinstance(one, Table)]
    assert languages.rows[0][1].text == f"{per:.1f}"
    assert "protocol per_pfer" in languages.note
    compare([str(run.folder) for run in runs])
    said = capsys.readouterr().out
    assert "(protocol per_pfer)" in said
    assert f"{per:.1f}" in said
    page = text_of(several_runs_page(runs, sounds=SoundBox(max_num=0, roots=[])))
    assert f"{per:.1f}" in page
    assert "a substituted phone is underlined" in page


def test_feature_error_rates_stand_beside(runs: list[LoadedRun]) -> None:
    pytest.importorskip("panphon")
    pfer = runs[0].result.protocols.sections["per_pfer"].per_language["test"]["deu"]["pfer"]
    [languages] = [one for one in pictures.languages(runs[0]).blocks if isinstance(one, Table)]
    assert languages.columns[:3] == ("language", "PER %", "PFER %")
    assert languages.rows[0][2].text == f"{pfer:.1f}"


def test_units_are_called_by_their_name(runs: list[LoadedRun]) -> None:
    page = text_of(one_run_page(replace(runs[0], with_sound=True), sounds=SoundBox(max_num=0, roots=[])))
    for wanted in (
        "1 language ", "reference phones per second", "Unseen phones", "share of the reference's phones that are not in the",
        "Phone errors over reference phones, as sclite aligns them", "a substituted phone is underlined",
        "the result has no mean, deviation and worst language of the CER (protocol v2)",
    ):  # fmt: skip
        assert wanted in page or wanted[:1].lower() + wanted[1:] in page, wanted
    for unwanted in (
        "1 languages",
        "phoneme",
        "a substituted character",
        "characters per second",
        "unseen char",
        "{unit",
    ):
        assert unwanted not in page, unwanted
