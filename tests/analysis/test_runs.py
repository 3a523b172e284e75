"""A run as analyses read it: its split, its scores, its names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_runs import make_run

from mlsuperb.analysis.runs import load_run, run_labels
from mlsuperb.analysis.stages import NEIGHBOURS, POINTS, STAMP, stored


def test_counts_and_table_are_of_the_same_utterances(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path / "run", languages=("eng", "fra"), audio=False))
    assert [one.id for one in run.hypotheses] == run.table["id"].tolist()
    assert [one.errors for one in run.counts] == run.table["errors"].tolist()
    assert [one.code for one in run.languages] == ["eng", "fra"]
    assert run.rate == "CER %"
    assert 0 <= run.lid_accuracy <= 100
    assert not (tmp_path / "run" / "analysis").exists()  # no audio was asked for


def test_an_evaluation_has_the_tokens_of_its_run(tmp_path: Path) -> None:
    """Its own folder has none."""
    run = make_run(tmp_path / "run", languages=("eng", "fra"), audio=False)
    evaluation = make_run(run / "evaluations" / "more", languages=("eng", "fra"), audio=False)
    (evaluation / "tokens.txt").unlink()
    unseen = load_run(evaluation).table["unseen_share"]
    assert unseen.tolist() == load_run(run).table["unseen_share"].tolist()
    assert unseen.notna().all()


def test_the_facts_of_a_task_decide_what_is_shown(tmp_path: Path) -> None:
    lid = load_run(make_run(tmp_path / "lid", languages=("eng", "fra"), task="lid", audio=False))
    assert (lid.rate, lid.languages[0].rate) == ("language error %", None)
    asr = load_run(make_run(tmp_path / "asr", languages=("eng", "fra"), task="asr", audio=False))
    assert (asr.lid_accuracy, asr.languages[0].lid_accuracy) == (None, None)
    assert asr.languages[0].rate is not None


def test_another_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no hypotheses of the split 'dev'; it has test: give one of them"):
        load_run(make_run(tmp_path / "run", languages=("eng",), audio=False), split="dev")


def test_labels_tell_runs_apart(tmp_path: Path) -> None:
    results = [
        load_run(make_run(tmp_path / str(n), languages=("eng",), audio=False, seed=seed, setting=setting)).result
        for n, (seed, setting) in enumerate([(0, "frozen"), (1, "frozen"), (0, "lora")])
    ]
    labels = run_labels(results, subjects=["x"] * 3)
    assert labels == ["x, frozen, seed 0", "x, frozen, seed 1", "x, lora"]
    more = results[0].model_copy(update={"data": results[0].data.model_copy(update={"name": "ml_superb_1h"})})
    named = [f"x, data {one.data.name}" for one in (results[0], more)]
    assert run_labels([results[0], more], subjects=["x"] * 2) == named


def test_stored_tables_need_their_stamp(tmp_path: Path) -> None:
    (tmp_path / POINTS).write_text("stage,id,language,predicted,correct,x,y\nblock 1,a,nan,eng,False,0,0\n")
    (tmp_path / NEIGHBOURS).write_text("stage,accuracy,accuracy_other_speakers\nblock 1,75,\n")
    assert stored(tmp_path) is None
    stamp = {"made_of": {"k": 5}, "constant": ["head output"], "date": "2026-01-01"}
    (tmp_path / STAMP).write_text(json.dumps(stamp))
    found = stored(tmp_path)
    assert found.points["language"].tolist() == ["nan"]  # Min Nan Chinese
    assert {"made_of": found.made_of, "constant": found.constant, "date": found.date} == stamp
