"""The command line on finished runs, built from hypotheses."""

from __future__ import annotations

import json
import re

import pytest
from finished_runs import finished_run

from mlsuperb.commands.table import main


@pytest.fixture
def folder(tmp_path):
    for lr, seed, wrong, loss in ((0.1, 0, 0, 2.0), (0.1, 1, 6, 2.0), (0.01, 0, 3, 1.0), (0.01, 1, 3, 1.5)):
        finished_run(tmp_path / f"lr{lr}-{seed}", wrong=wrong, seed=seed, lr=lr, loss=loss)
    return tmp_path


def shown(capsys, *arguments):
    main([*map(str, arguments)])
    return capsys.readouterr().out


def test_facts_are_columns(folder, capsys):
    output = shown(capsys, folder, "--show", "overlap,hours")
    assert output.index("hours") < output.index("pre-training overlap")
    assert "peak memory" not in output
    with pytest.raises(ValueError, match="--show has no size; choose from params, memory, hours, rtfx, macs, overlap"):
        main([str(folder), "--show", "size"])


def test_intervals_hold_the_pooled_rate(folder, capsys):
    output = shown(capsys, folder / "lr0.01-0", "--intervals", "--out", folder / "t.md")
    assert "pooled CER" in output
    page = (folder / "t.md").read_text(encoding="utf-8")
    [(value, low, high)] = re.findall(r"\| ([\d.]+) \(([\d.]+) to ([\d.]+)\) \|", page)[:1]
    assert 0 <= float(low) < float(value) < float(high) < 100
    output = shown(capsys, folder, "--intervals", "--over-seeds", "--best", "trainer.optimizer.lr")
    assert output.count(" to ") >= 1
    with pytest.raises(ValueError, match="--by makes rows of groups"):
        main([str(folder), "--by", "family", "--intervals"])


def test_runs_over_seeds_and_the_best_on_dev(folder, capsys):
    output = shown(capsys, folder, "--over-seeds")
    assert output.count("0, 1") == 2
    output = shown(capsys, folder, "--over-seeds", "--best", "trainer.optimizer.lr", "--out", folder / "t.md")
    assert output.count("±") > 1
    page = (folder / "t.md").read_text(encoding="utf-8")
    assert "1.250 ± 0.354" in page  # of 1.0 and 1.5
    assert "2.000" not in page
    assert "- passed over on the dev set: lr0.1-1 (trainer.optimizer.lr=0.1, valid_loss 2)" in page


def test_groups(folder, capsys):
    output = shown(capsys, folder, "--by", "family")
    assert "Indo-European" in output
    assert "lr=0.01" in output
    with pytest.raises(ValueError, match="--by makes rows of groups"):
        main([str(folder), "--by", "family", "--over-seeds"])


def test_synthetic_and_real_rows_have_a_table_each(folder, capsys):
    finished_run(folder / "real", wrong=0, seed=0, lr=0.1, loss=1.0, synthetic=False)
    output = shown(capsys, folder)
    assert "4 runs on" in output
    assert "1 run on" in output
    assert output.count("Synthetic data") == 1


def test_other_test_data_are_named(folder, capsys):
    finished_run(folder / "other", wrong=0, seed=0, lr=0.1, loss=1.0, data="b")
    assert "The 5 runs were tested on 2 different sets (test)" in shown(capsys, folder)


def test_runs_that_failed_alike_share_a_line(folder, capsys):
    for name, progress in (("a", {}), ("b", {}), ("c", {"iteration": 4, "num_iterations": 8})):
        (folder / name).mkdir()
        status = {"state": "failed", "error": "no such file", **progress}
        (folder / name / "status.json").write_text(json.dumps(status), encoding="utf-8")
    output = shown(capsys, folder)
    assert f"not in the table: {folder / 'a'} {folder / 'b'}: failed: no such file\n" in output
    assert f"not in the table: {folder / 'c'}: failed after 4 of 8 iterations: no such file" in output


def test_a_pipe_has_the_columns_that_are_asked_for(folder, capsys, monkeypatch):
    widest = max(map(len, shown(capsys, folder, "--intervals").splitlines()))
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, shown(capsys, folder, "--intervals").splitlines())) <= 60 < widest
