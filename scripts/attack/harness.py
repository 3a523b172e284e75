"""What every attack shares: runs in forked processes that have the libraries loaded, and what a run leaves behind.

A run of a few steps takes a second, its imports take five, so one process loads everything and forks a child for each start: the
same code with the same settings, which a real SIGKILL ends with its whole process group. The parent has one thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from scripts.attack import jobs

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240.0  # for one start
# the last: a card that shows hours
VOLATILE = {"run.log", "status.json", "environment.json", "config.yaml", "README.md"}
VOLATILE_FOLDERS = {"checkpoints", "curves", "best", "figures"}
# keys of JSON that say when, where, how fast, in how many starts, or of a checkout that someone works in
TIMES = {
    "cost", "date", "env", "code", "official", "not_official_because", "environment", "output_root", "manifests", "folder",
    "wall_s", "timed_s", "timed_audio_s", "memory_gb", "created", "updated", "pid",
}  # fmt: skip

LOADED = (
    "accelerate", "hydra", "peft", "pyarrow.parquet", "sacrebleu", "torch._dynamo", "torch.utils.tensorboard",
    "torchaudio.functional", "transformers.models.hubert.modeling_hubert", "transformers.models.wavlm.modeling_wavlm",
    "transformers.models.seamless_m4t.modeling_seamless_m4t", "mlsuperb.benchmark.job", "mlsuperb.benchmark.result",
    "mlsuperb.commands.sweep", "mlsuperb.config.check", "mlsuperb.pretraining.labels_build", "mlsuperb.run",
    "mlsuperb.scoring.scored_run", "mlsuperb.translation.build", "mlsuperb.vocoder.build",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a start ended: exit status (negative: the signal), seconds from the start of its work, what it printed."""

    status: int
    seconds: float
    said: str

    @property
    def has_traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.said or "Error executing job" in self.said

    @property
    def last(self) -> str:
        """The end of what it printed, without bars of progress."""
        lines = [one for one in self.said.replace("\r", "\n").splitlines() if one.strip() and "it/s" not in one]
        return " | ".join(lines[-3:])[-400:]


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A run that was left alone: how long it worked, what it left."""

    seconds: float
    left: dict[str, str]


def warm_up() -> None:
    """Load what runs need, before anything is forked."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["TQDM_MININTERVAL"] = "0"
    sys.path.insert(0, str(ROOT))
    for name in LOADED:
        import_module(name)
    import torch

    torch.set_num_threads(1)


def fork(work: Callable[[], Any], log: Path) -> int:
    """A process in a group of its own that calls `work` as a program, writing to `log`; returns its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    if process := os.fork():
        return process
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for number in (1, 2):
            os.dup2(target, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        work()
        status = 0
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
        if isinstance(asked.code, str):
            print(asked.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 (this is the end of a process)
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # also where the log may not grow: what belongs to the parent is not this process's to clean up
            os._exit(status)


def start(
    arguments: Sequence[str], log: Path, *, before: Callable[[], None] | None = None, kill_after_s: float | None = None
) -> Ended:
    """`python -m mlsuperb.run ARGUMENTS` to its end.

    Args:
        before: is called in the child first.
        kill_after_s: SIGKILL to its group so long after its work has begun, that is with its settings read.
    """
    read, write = os.pipe()

    def work() -> None:
        from mlsuperb import run

        begin = run.run_experiment

        def begun(config: dict[str, Any]) -> None:
            os.write(write, b".")
            begin(config)

        run.run_experiment = begun
        if before:
            before()
        sys.argv = ["mlsuperb.run", *arguments]
        run.cli()

    process = fork(work, log)
    os.close(write)
    try:
        status, seconds = _wait(process, read, kill_after_s)
    finally:
        os.close(read)
    return Ended(status=status, seconds=seconds, said=log.read_text(encoding="utf-8", errors="replace"))


def _wait(process: int, read: int, kill_after_s: float | None) -> tuple[int, float]:
    """Status and seconds of a child, which is killed when its time is up."""
    select.select([read], [], [], PATIENCE_S)  # begun, or ended before
    began = time.monotonic()
    limit_s = PATIENCE_S if kill_after_s is None else kill_after_s
    while True:
        found, code = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(code), time.monotonic() - began
        if time.monotonic() - began >= limit_s:
            os.killpg(process, signal.SIGKILL)
            _, code = os.waitpid(process, 0)
            return os.waitstatus_to_exitcode(code), time.monotonic() - began
        time.sleep(0.002)


def run_in(root: Path) -> Path | None:
    """The folder of the one run below an output folder, if it has begun."""
    found = [path.parent for path in root.glob("*/config.yaml")]
    return found[0] if found else None


def outcome(run: Path, *, root: Path) -> dict[str, str]:
    """What a finished run left, by file: its hash, with `root` and all that is of time left out."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run)
        hidden = path.name.startswith(".")  # locks; temporary files of killed starts
        if path.is_file() and not hidden and path.name not in VOLATILE and not VOLATILE_FOLDERS & set(name.parts):
            content = path.read_bytes()
            if path.suffix in (".json", ".jsonl", ".md", ".txt"):
                content = content.replace(str(root).encode(), b"ROOT")
            if path.suffix == ".json":
                content = json.dumps(timeless(json.loads(content)), sort_keys=True).encode()
            found[str(name)] = hashlib.sha256(content).hexdigest()
    return found


def timeless(value: Any) -> Any:
    """JSON without what is of time, place and machine."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in TIMES}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Files that two outcomes do not have in common."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def left_alone(every: Sequence[jobs.Job], folder: Path) -> tuple[dict[str, Whole], Path]:
    """A run of each job without a kill, and the run of labels.

    Raises:
        RuntimeError: one did not end well.
    """
    found, labels = {}, None
    for job in every:
        root = folder / "whole" / job.name.replace(" ", "_")
        ended = start(job.command(root, labels=labels), folder / "whole.log")
        run = run_in(root)
        if ended.status or run is None:
            raise RuntimeError(f"{job.name} fails without any kill: {ended.last}")
        found[job.name] = Whole(seconds=ended.seconds, left=outcome(run, root=root))
        labels = run if job.name == jobs.LABELS else labels
    assert labels is not None, "the jobs begin with labels"
    return found, labels


def problem_of(ended: Ended, whole: Whole, root: Path) -> str | None:
    """What is wrong with the end of a run below `root`; None where it left what `whole` did."""
    run = run_in(root)
    if ended.status or run is None:
        return f"ended with {ended.status}: {ended.last}"
    other = differences(outcome(run, root=root), whole.left)
    return f"other than the run that was left alone: {', '.join(other)}" if other else None
