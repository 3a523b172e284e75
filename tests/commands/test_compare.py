"""The command line on two finished runs, built from hypotheses."""

from __future__ import annotations

import json

import pytest
from finished_runs import finished_run

from mlsuperb.commands.compare import main


@pytest.fixture
def runs(tmp_path):
    return [finished_run(tmp_path / "one", wrong=0, seed=0), finished_run(tmp_path / "two", wrong=6, seed=1)]


def test_two_runs_are_compared(runs, tmp_path, capsys):
    files = [tmp_path / "out.md", tmp_path / "out.json"]
    main([*map(str, runs), "--examples", "2", "--out", str(files[0]), "--json", str(files[1])])
    shown = " ".join(capsys.readouterr().out.split())
    for text in ("A: one (seed=0)", "B: two (seed=1)", "Synthetic data", "u0 (mls, deu)", "audio 0.wav"):
        assert text in shown, text
    assert "of 2 groups" in shown
    page = files[0].read_text(encoding="utf-8")
    assert "| language | utterances |" in page
    assert page.count("```text") == 2
    whole = json.loads(files[1].read_text(encoding="utf-8"))
    assert [row["group"] for row in whole["rows"]] == ["deu", "fra", "total"]
    total = whole["rows"][-1]["lid_accuracy"]
    assert total["value"] == -50.0
    assert total["low"] < -50 < total["high"] < 0
    assert whole["most_different"][0]["first"]["audio"] == "0.wav"


def test_groups_and_no_examples(runs, capsys):
    main([*map(str, runs), "--by", "resource", "--examples", "0"])
    shown = capsys.readouterr().out
    assert "resource class" in shown
    assert "Utterances that differ most" not in shown
    assert "same counts" not in shown
    main([str(runs[0]), str(runs[0])])
    assert "the same counts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": "b"}, r"cannot be compared: data differ in split test"),
        ({"synthetic": False}, r"one is of synthetic data, the other of real data"),
    ],
)
def test_incomparable_runs_are_refused_with_the_reason(runs, tmp_path, changed, message):
    other = finished_run(tmp_path / "other", wrong=1, seed=2, **changed)
    with pytest.raises(ValueError, match=message):
        main([str(runs[0]), str(other)])


def test_runs_that_were_trained_on_other_data_are_compared_if_asked_for(runs, capsys):
    for number, folder in enumerate(runs):
        result = json.loads((folder / "result.json").read_text())
        result["data"]["splits"]["train"] = {"sha256": f"1:{number}"}
        (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(ValueError, match=r"data differ in split train .*, add --any-training$"):
        main([*map(str, runs)])
    main([*map(str, runs), "--any-training"])
    assert "B: two (seed=1)" in " ".join(capsys.readouterr().out.split())


def test_mistakes_are_explained(runs, tmp_path):
    for arguments, message in (
        ([str(runs[0]), str(tmp_path / "none")], "there is no file"),
        ([*map(str, runs), "--split", "dev"], "no hypotheses of the split 'dev'; it has test"),
        ([*map(str, runs), "--examples", "-1"], "--examples is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            main(arguments)
