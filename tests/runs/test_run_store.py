"""The one finder and reader of runs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from finished_runs import finished_run

from mlsuperb.runs import store
from mlsuperb.runs.result import Result
from mlsuperb.scoring.result import BenchmarkResult


def found_in(*folders: Path) -> tuple[list[str], dict[str, str]]:
    found = store.find(folders, BenchmarkResult)
    return [path.name for path in found.runs], {folder.name: why for folder, why in found.left_out.items()}


def test_runs_are_found_however_deep_and_the_others_are_named(tmp_path):
    for place in ("b", "sweep/lr1/a", "sweep/c"):
        finished_run(tmp_path / place, wrong=0, seed=0)
    for name, status in {
        "running": {"state": "running", "iteration": 1000, "num_iterations": 2000},
        "failed": {"state": "failed", "error": "no such file\nTraceback ..."},
        "odd": [],
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "status.json").write_text(json.dumps(status))
    (tmp_path / "waiting").mkdir()
    (tmp_path / "waiting" / "config.yaml").write_text("run_id: waiting\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "result.json").write_text("{")
    names, left_out = found_in(tmp_path)
    assert names == ["b", "c", "a"]
    assert left_out.pop("broken").startswith(f"{tmp_path / 'broken' / 'result.json'} is not a result")
    assert left_out == {
        "running": "not finished after 1,000 of 2,000 iterations",
        "failed": "failed: no such file ... (run.log has it all)",
        "odd": "status.json cannot be read",
        "waiting": "not started",
    }


def test_evaluations_are_left_out_unless_given_themselves(tmp_path):
    run = finished_run(tmp_path / "run", wrong=0, seed=0)
    evaluation = finished_run(run / "evaluations" / "kaldi-1", wrong=0, seed=0)
    (run / "tensorboard").mkdir()
    (run / "tensorboard" / "result.json").write_text("{")  # what else a run holds is its own
    reason = "an evaluation of a trained run on data it was given later"
    assert found_in(tmp_path) == found_in(run) == (["run"], {"kaldi-1": reason})
    assert found_in(evaluation) == found_in(evaluation.parent) == (["kaldi-1"], {})
    assert found_in(run, evaluation) == (["run", "kaldi-1"], {})
    assert found_in(evaluation, run) == (["kaldi-1", "run"], {})


def test_a_run_counts_once_and_links_are_followed(tmp_path, monkeypatch):
    run = finished_run(tmp_path / "disk" / "run", wrong=0, seed=0)
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "link").symlink_to(run)
    (tmp_path / "exp" / "circle").symlink_to(tmp_path / "exp")
    assert found_in(tmp_path / "exp") == (["link"], {})
    monkeypatch.chdir(tmp_path)
    assert found_in(tmp_path, Path("disk"), Path("disk/run"))[0] == ["run"]


def test_results_of_another_job_are_left_out_and_any_job_can_be_asked_for(tmp_path):
    run = finished_run(tmp_path / "run", wrong=0, seed=0)
    whole = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(whole | {"job": "pretrain"}))
    names, left_out = found_in(tmp_path)
    assert names == []
    assert left_out == {"run": f"{run / 'result.json'} is a result of job pretrain, not of benchmark"}
    assert store.find([tmp_path], Result).runs[run].job == "pretrain"
    with pytest.raises(ValueError, match=r"no finished run: .*run: .*of job pretrain.*Give folders of runs"):
        store.find([tmp_path], BenchmarkResult).required()


def test_folders_without_a_run(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*none; give folders of runs"):
        store.find([tmp_path / "none"], BenchmarkResult)
    with pytest.raises(ValueError, match=r"it holds no run\. Give folders of runs, or a folder that they are in"):
        store.find([tmp_path], BenchmarkResult).required()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: [], "expected a JSON object"),
        (lambda whole: whole | {"schema_version": 99}, "schema_version is 99, this version of mlsuperb reads 1"),
        (lambda whole: {key: whole[key] for key in whole if key != "seed"}, "not a whole result: seed: field required"),
        (lambda whole: whole | {"data": {"name": "x"}}, r"data\.splits: field required"),
        (lambda whole: whole | {"seed": math.nan}, "NaN is not JSON"),
    ],
)
def test_what_is_no_result_is_refused_in_a_sentence(tmp_path, change, message):
    run = finished_run(tmp_path / "run", wrong=0, seed=0)
    whole = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(change(whole)))
    with pytest.raises(ValueError, match=message):
        store.read(run, BenchmarkResult)


def test_nan_is_refused_and_nothing_is_written(tmp_path):
    run = finished_run(tmp_path / "run", wrong=0, seed=0)
    before = (run / "result.json").read_bytes()
    result = store.read(run, BenchmarkResult)
    with pytest.raises(ValueError, match=r"result\.json cannot be written as JSON.*must be null"):
        store.write(run, result.model_copy(update={"cost": {"wall_s": math.nan}}))
    assert (run / "result.json").read_bytes() == before
    with pytest.raises(ValueError, match="there is no file"):
        store.read(tmp_path, BenchmarkResult)
