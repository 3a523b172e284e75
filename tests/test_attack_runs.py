"""The attacks on whole runs: their own bookkeeping, and processes that are forked, limited and killed."""

from __future__ import annotations

import json
import os
import random
import resource
import runpy
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.attack import faults, harness, kills  # noqa: E402
from scripts.attack.harness import Whole  # noqa: E402
from scripts.attack.kills import Chain  # noqa: E402


def forked(work: Any, log: Path) -> tuple[int, str]:
    _, code = os.waitpid(harness.fork(work, log), 0)
    return os.waitstatus_to_exitcode(code), log.read_text()


def test_a_child_ends_as_a_program_does(tmp_path: Path) -> None:
    def fail() -> None:
        raise KeyError("x")

    log = tmp_path / "log"
    assert forked(lambda: print("hello"), log) == (0, "hello\n")
    assert forked(lambda: sys.exit("one sentence"), log) == (1, "one sentence\n")
    assert forked(lambda: sys.exit(2), log)[0] == 2
    status, said = forked(fail, log)
    assert status == 1
    assert harness.Ended(status=status, seconds=0, said=said).has_traceback


def test_a_child_that_can_print_nothing_ends_all_the_same(tmp_path: Path) -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        sys.stdout.write("no newline, so that it waits")

    with ExitStack() as stack:
        stack.callback((tmp_path / "cleaned up").mkdir)
        assert forked(work, tmp_path / "log") == (0, "")
        assert not (tmp_path / "cleaned up").exists()


def test_a_child_is_killed_with_its_children(tmp_path: Path) -> None:
    def work() -> None:
        child = os.fork()
        (tmp_path / "child").write_text(str(child or os.getpid()))
        time.sleep(60)

    read, write = os.pipe()
    process = harness.fork(work, tmp_path / "log")
    while not (tmp_path / "child").exists():
        time.sleep(0.01)
    os.write(write, b".")
    began = time.monotonic()
    assert harness._wait(process, read, 0.1)[0] == -signal.SIGKILL
    assert time.monotonic() - began < 5
    time.sleep(0.05)
    state = Path(f"/proc/{(tmp_path / 'child').read_text()}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def made_run(root: Path, *, loss: float = 0.1, wall_s: float = 1.0) -> Path:
    run = root / "name-1234"
    (run / "checkpoints").mkdir(parents=True)
    files = {
        "config.yaml": f"output_root: {root}",
        "result.json": json.dumps(
            {"config": {"output_root": str(root), "lr": 1}, "cost": {"hours": wall_s}, "loss": loss}
        ),
        "training.json": json.dumps({"wall_s": wall_s, "history": [{"train_loss": loss}]}),
        "hypotheses.jsonl": json.dumps({"audio": f"{root}/a.wav", "hypothesis": "ab"}) + "\n",
        "model.safetensors": "weights",
        "run.log": f"took {wall_s}",
        ".status.json.1.tmp": "half",
    }
    for name, content in files.items():
        (run / name).write_text(content)
    return run


def test_outcomes_differ_by_numbers_and_not_by_time_and_place(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    found = [
        harness.outcome(made_run(one), root=one),
        harness.outcome(made_run(other, wall_s=2.0), root=other),
        harness.outcome(made_run(tmp_path / "third", loss=0.2), root=tmp_path / "third"),
    ]
    assert sorted(found[0]) == ["hypotheses.jsonl", "model.safetensors", "result.json", "training.json"]
    assert harness.differences(found[0], found[1]) == []
    assert harness.differences(found[0], found[2]) == ["result.json", "training.json"]
    (one / "name-1234" / "model.safetensors").write_text("weightt")
    assert harness.differences(harness.outcome(one / "name-1234", root=one), found[0]) == ["model.safetensors"]
    whole = Whole(seconds=1.0, left=found[0])
    good, killed = (
        harness.Ended(status=0, seconds=1, said=""),
        harness.Ended(status=1, seconds=1, said="train: 5it/s\nno room"),
    )
    assert harness.problem_of(good, whole, other) is None
    assert harness.problem_of(good, whole, one) == "other than the run that was left alone: model.safetensors"
    assert harness.problem_of(killed, whole, other) == "ended with 1: no room"
    assert harness.problem_of(good, whole, tmp_path / "nothing") == "ended with 0: "


def test_where_a_run_was_killed(tmp_path: Path) -> None:
    assert kills.stage(None, "") == "start"
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    assert kills.stage(run, "") == "start"
    (run / "data.json").write_text("{}")
    assert kills.stage(run, "loading") == "preparation"
    bars = "train:   0%|   | 0/4 [00:00<?, ?it/s]\rtrain:  25%|#  | 1/4"
    assert kills.stage(run, bars) == "training"
    assert kills.stage(run, f"{bars}\rvalidate:  25%|#  | 1/4") == "validation"
    assert kills.stage(run, f"{bars}\ndecode:  50%|#  | 1/2") == "decoding"
    half = run / "checkpoints" / ".00000003-0001.tmp"
    half.mkdir()
    assert kills.stage(run, bars) == "writing"
    assert kills.stage(run, bars, since=time.time() + 9) == "training"  # an earlier start left it
    half.rmdir()
    (run / "hypotheses.jsonl").write_text("")
    assert kills.stage(run, bars) == "scoring"
    (run / "result.json").write_text("{}")
    assert kills.stage(run, bars) == "end"


CHAINS = [
    Chain(job="a", stages=["training", "training", "start"]),
    Chain(job="a", stages=["writing"], problem="ended with 1: no room"),
    Chain(job="b"),
]


def test_chains_are_counted() -> None:
    found = kills.figures(CHAINS)
    assert (found["runs"], found["kills"], found["equal"]) == (3, 4, 2)
    assert found["by_stage"] == {"training": 2, "start": 1, "writing": 1}
    assert found["by_job"]["a"] == {
        "runs": 2,
        "kills": 4,
        "equal": 1,
        "by_stage": {"training": 2, "start": 1, "writing": 1},
    }
    assert found["by_job"]["b"] == {"runs": 1, "kills": 0, "equal": 1, "by_stage": {}}
    assert found["problems"] == ["a, killed in writing: ended with 1: no room"]


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_faults_are_felt_in_the_child_alone(fault: str, tmp_path: Path) -> None:
    import fcntl

    root = tmp_path / "run"
    folders = [root, root / "manifests", root / "features"]
    for folder in folders:
        folder.mkdir()
    before = faults.FAULTS[fault](random.Random(0), root)

    def feel() -> None:
        before()
        for folder in folders:  # one is read-only, whichever
            (folder / "new").write_bytes(bytes(1_000_000))
        files = [open(tmp_path / f"{number}", "w") for number in range(400)]  # noqa: SIM115
        fcntl.flock(files[0], fcntl.LOCK_EX)

    status, said = forked(feel, tmp_path / "log")
    words = {
        "file size": "File too large",
        "open files": "Too many open files",
        "read-only folder": "Permission denied",
    }
    assert status == 1
    assert words.get(fault, "No locks available") in said
    for folder in folders:
        folder.chmod(0o755)
    if fault != "read-only folder":
        with open(tmp_path / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write("0" * 1_000_000)


def test_the_page_shows_what_came_of_all() -> None:
    main = runpy.run_path(str(ROOT / "scripts" / "attack" / "__main__.py"), run_name="attack")
    one = {"starts": 5, "went_on": 2, "told": 2, "tracebacks": 1, "equal": 5}
    found = {
        "kills": kills.figures(CHAINS),
        "faults": {"starts": 5, "faults": {"no locks": one}, "problems": ["no locks: Traceback ..."]},
        "manifests": {
            "inputs": 1000,
            "whole": 900,
            "counted": 60,
            "refused": 40,
            "tracebacks": 0,
            "silent_losses": 0,
            "bad": [],
        },
        "audio": {"inputs": 100, "outcomes": {"read": 98, "failed": 2}, "failed": [{"number": 3}, {"number": 4}]},
    }
    text = main["page"](found, command="python scripts/attack", machine="cpu", date="2026-01-01", seconds=600, seed=0)
    for row in (
        "| SIGKILL, runs | 3 | 2 | 1 |",
        "| faults of the machine, starts | 5 | 4 | 1 |",
        "| damaged manifests | 1,000 | 1,000 | 0 |",
        "| damaged audio | 100 | 98 | 2 |",
        "| a | 2 | 4 | 1 | training 2, start 1, writing 1 |",
        "| no locks | 5 | 2 | 2 | 1 | 5 |",
        "whole 900, counted 60, refused 40 |",
        '{"number": 4}',
    ):
        assert row in text, row
