from __future__ import annotations

import json
from pathlib import Path

import pytest
from finished_runs import finished_run

from mlsuperb.commands import compare, leaderboard, results, table
from mlsuperb.runs import store
from mlsuperb.scoring.result import BenchmarkResult


def packed(tmp_path: Path) -> Path:
    for name, wrong in (("a-1", 3), ("b-2", 6)):
        finished_run(tmp_path / "exp" / name, wrong=wrong, seed=wrong)
    results.main(["pack", str(tmp_path / "exp"), "--out", str(tmp_path / "r.xz")])
    return tmp_path / "r.xz"


def test_merged_runs_are_scored_again_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, into = packed(tmp_path), tmp_path / "all"
    assert "r.xz holds 2 runs (" in capsys.readouterr().out
    results.main(["merge", str(bundle), "--into", str(into)])
    assert capsys.readouterr().out == f"{into}: 2 results added and scored again: every score is what was recorded\n"
    table.main([str(into)])
    shown = capsys.readouterr().out
    assert "2 runs on d, split test" in shown
    compare.main([str(into / "a-1"), str(into / "b-2")])
    assert "A: a-1" in capsys.readouterr().out
    leaderboard.main([str(into)])
    assert "a-1" in capsys.readouterr().out, "listed with why it makes no row"
    results.main(["merge", str(bundle), "--into", str(into)])
    assert f"{into / 'a-1'} was there already\n" in capsys.readouterr().out


def test_scores_that_differ_from_the_recorded_ones_are_told_and_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store.read(finished_run(tmp_path / "exp" / "a-1", wrong=3, seed=1), BenchmarkResult)
    path = tmp_path / "exp" / "a-1" / "result.json"
    content = json.loads(path.read_text())
    counts = content["protocols"]["v1"]["counts"]["test"]["mls"]["deu"]
    right, counts["substitutions"] = counts["substitutions"], 0
    content["protocols"]["v2"]["metrics"]["test"]["all_macro_cer"]["value"] = 0.0
    path.write_text(json.dumps(content))
    results.main(["pack", str(tmp_path / "exp"), "--out", str(tmp_path / "r.xz")])
    results.main(["merge", str(tmp_path / "r.xz"), "--into", str(tmp_path / "all")])
    told = capsys.readouterr().out
    assert f"scores differ: {tmp_path}/all/a-1: v1, test mls deu: substitutions 0 recorded, {right} today\n" in told
    assert "a-1: v2, test: all_macro_cer 0.0 recorded, " in told
    assert "where scores differ, its results have today's" in told
    assert store.read(tmp_path / "all" / "a-1", BenchmarkResult).protocols == before.protocols
