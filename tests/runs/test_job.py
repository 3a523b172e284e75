"""A job of another kind: a class and a YAML file in a folder of the user's; the package knows nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlsuperb.runs.result import Result
from mlsuperb.runs.store import find, read
from mlsuperb.scoring.result import BenchmarkResult

ROOT = Path(__file__).resolve().parents[2]
CODE = '''
from mlsuperb.runs import store
from mlsuperb.runs.result import Result, what_ran


class Counter:
    """Counts up to a number."""

    not_science = ("verbose",)

    def __init__(self, *, upto: int, verbose: bool = False) -> None:
        self.upto = upto


class Count:
    groups = ("counter",)
    settings = ()
    runtime = {}

    @classmethod
    def misfits(cls, config, groups):
        if config["counter"]["upto"] == 13:
            yield "counter.upto=13 is unlucky; give another number"

    def __call__(self, config, run):
        said = what_ran(config, run.environment, job="count")
        store.write(run.folder, Result(**said, training={"counted": config["counter"]["upto"]}, cost={}))

    def load(self, folder, *, device):
        raise ValueError(f"{folder} counts; it transcribes nothing")

    def show(self, folder):
        print("counted to", store.read(folder, Result).training["counted"])
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_job.py").write_text(CODE)
    for name, text in {
        "job/count": "# @package _global_\ndefaults:\n  - /counter: small\n  - _self_\n"
        "job:\n  name: count\n  _target_: my_job.Count\nrun_name: count-${counter.upto}\n",
        "counter/small": "name: small\n_target_: my_job.Counter\nupto: 3\nverbose: false\n",
    }.items():
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "mlsuperb", *arguments],
        capture_output=True, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip


def test_a_job_of_ones_own_runs_is_found_again_and_stays_out_of_the_benchmarks_tables(folder: Path) -> None:
    call = ("run", "--config-dir", "conf", "job=count")
    first, again = run(folder, *call), run(folder, *call, "counter.verbose=true")
    assert first.stdout.rstrip().endswith("counted to 3"), first.stderr
    assert again.stdout.rstrip().endswith("counted to 3")
    assert "has ended before" in again.stdout
    (one,) = (folder / "exp").glob("count-3-*")
    assert json.loads((one / "status.json").read_text())["state"] == "finished"
    assert read(one, Result).job == "count"
    found = find([folder / "exp"], BenchmarkResult)
    assert not found.runs
    assert [why.endswith("of job count, not of benchmark") for why in found.left_out.values()] == [True]
    other = run(folder, *call, "counter.upto=4")
    assert other.stdout.rstrip().endswith("counted to 4")
    assert len(list((folder / "exp").glob("count-*"))) == 2


def test_what_does_not_fit_is_said_before_anything_runs(folder: Path) -> None:
    done = run(folder, "run", "--config-dir", "conf", "job=count", "counter.upto=13")
    assert done.returncode == 1
    assert "1. counter.upto=13 is unlucky; give another number" in done.stderr
    done = run(folder, "run", "--config-dir", "conf", "job=count", "counter.upto=many")
    assert "counter.upto='many' should be a valid integer" in done.stderr


def test_a_job_that_makes_no_transcriber_says_so(folder: Path) -> None:
    run(folder, "run", "--config-dir", "conf", "job=count")
    (one,) = (folder / "exp").glob("count-3-*")
    (folder / "a.wav").write_bytes(b"")
    done = run(folder, "transcribe", str(one), "a.wav")
    assert done.returncode == 1
    assert "cannot be read as audio" in done.stderr
