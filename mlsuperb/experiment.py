"""Run identity, run folder, seeds, environment, status: what makes an experiment one that can be found, resumed, trusted."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

import mlsuperb
from mlsuperb import ranks
from mlsuperb.files import write_atomic

log = logging.getLogger(__name__)

# What does not change the science, and so not the identity of a run: where runs lie, what computes them, how they are
# watched, scored and placed in a benchmark. Everything else does, the place of the corpus included: another place may hold
# other data.
NOT_SCIENCE = (
    "run_id",
    "run_name",
    "benchmark",
    "output_root",
    "manifests",
    "hydra",
    "scoring",
    "cache.folder",
    "cache.max_gb",
    "cache.device_gb",
    "trainer.device",
    "trainer.parallel",
    "trainer.compile",
    "trainer.optimizer.fused",
    "adaptation.gradient_checkpointing",
    "trainer.max_trainable_params",
    "trainer.log_every",
    "trainer.checkpoint_every",
    "trainer.trackers",
    "loading.num_workers",
    "loading.keep_audio_gb",
)
PACKAGES = ("torch", "torchaudio", "transformers", "accelerate", "hydra-core", "soundfile", "numpy", "rapidfuzz")


def science(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that make a run what it is: `config` without `NOT_SCIENCE` and without cards and names."""

    def strip(node: Any, prefix: str) -> Any:
        if not isinstance(node, Mapping):
            return node
        kept = {
            key: strip(value, f"{prefix}{key}.") for key, value in node.items() if f"{prefix}{key}" not in NOT_SCIENCE
        }
        return {key: value for key, value in kept.items() if not (prefix and key in ("name", "card"))}

    stripped: dict[str, Any] = strip(config, "")
    return stripped


def signature(config: Mapping[str, Any]) -> str:
    """Eight hex digits of the settings that change the science (the idea is Dora's), taken from the whole resolved
    configuration, so that a changed default never gives an old run's name to a new one."""
    text = json.dumps(science(config), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def environment() -> dict[str, Any]:
    """Versions, machine, code and command of this process."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "package_version": mlsuperb.__version__,
        "code": _code_state(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "gpus": gpus,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": ranks.world(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": now(),
    }


def _code_state() -> dict[str, Any]:
    """Commit of a checkout and whether it was changed; an installed package has neither."""
    root = Path(mlsuperb.__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if not (root / "pyproject.toml").is_file():
            return {"commit": None, "dirty": None}
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def set_seed(seed: int) -> None:
    """Seed every global random generator."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def why_unfinished(folder: Path) -> str | None:
    """Why a run's folder has no result, in words; None where it has one."""
    if (folder / "result.json").is_file():
        return None
    path = folder / "status.json"
    if not path.is_file():
        return "not started"
    try:
        status = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return f"{path.name} cannot be read"
    # a process that was killed had no time to say so
    words = "not finished" if status["state"] == "running" else str(status["state"])
    if "num_iterations" in status:
        words += f" after {status['iteration']:,} of {status['num_iterations']:,} iterations"
    lines = str(status.get("error", "")).strip().splitlines()
    return words + (f": {lines[0]}" if lines else "") + (" ... (run.log has it all)" if len(lines) > 1 else "")


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically.

    Raises:
        OSError: it cannot be written (a full disk, for one).
    """
    write_atomic(path, [json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False), "\n"])


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, for one process at a time.

    Raises:
        ValueError: another process is at work in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"another process is at work in {folder}; wait for it, or change the settings") from error
        yield


class Run:
    """A run's folder, held by one job at a time; rank 0 of the job writes.

    Used as a context: the status file says `running`, then `finished` or `failed`, and what failed stands in the log.
    The folder holds `config.yaml`, `environment.json` (of every start), `status.json`, `run.log` and what the run makes.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.id: str = config["run_id"]
        self.folder = Path(config["output_root"]) / self.id
        self.state = "running"
        self._progress: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        """Whether an earlier start wrote the result."""
        return (self.folder / "result.json").is_file()

    def __enter__(self) -> Run:
        with ExitStack() as stack:
            if ranks.is_main():
                stack.enter_context(held(self.folder))
            self._was_finished = ranks.from_main(lambda: self.finished)
            self._held = stack.pop_all()
        if self._was_finished:
            log.info("this run has ended before; here is its result (remove %s to run it again)", self.folder)
        else:
            self.status()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        failure = ranks.first_failure(error) if error else None
        try:
            if ranks.is_main() and not self._was_finished:
                self._record_end(failure)
        except OSError as failure:
            if error is None:
                raise
            log.warning("the failure could not be recorded: %s", failure)  # it must not take the place of its cause
        finally:
            self._held.close()

    def _record_end(self, failure: ranks.Failure | None) -> None:
        if failure is None:
            self.state = "finished"
        else:
            self.state = "interrupted" if failure.interrupted else "failed"
            where = f" (on rank {failure.rank})" if failure.rank > 0 else ""
            self._progress["error"] = f"{failure.error}{where}"
        if failure is not None and self.state == "failed":
            with (self.folder / "run.log").open("a", encoding="utf-8") as file:  # Hydra shows an error but logs none
                file.write(failure.traceback)
        self.status()

    def begin(self) -> None:
        """Record settings and environment; seed everything.

        Raises:
            ValueError: the folder holds a run with other settings.
        """
        self.environment = environment()
        if ranks.is_main():
            self._record_start()
        set_seed(self.config["seed"])

    def _record_start(self) -> None:
        path = self.folder / "config.yaml"
        if path.exists():
            earlier = yaml.safe_load(path.read_text(encoding="utf-8"))
            if science(earlier) != science(self.config):
                raise ValueError(
                    f"{self.folder} holds a run with other settings ({path}); give run_name=..., or remove it"
                )
        write_atomic(path, [yaml.safe_dump(dict(self.config), allow_unicode=True, sort_keys=False)])
        history = self.folder / "environment.json"
        starts = json.loads(history.read_text(encoding="utf-8")) if history.exists() else []
        write_json(history, [*starts, self.environment])

    def pin(self, name: str, value: Any) -> None:
        """Record `value` at the first start; refuse another one later.

        Raises:
            ValueError: it changed, so what was trained so far would not be what the result says.
        """
        if not ranks.is_main():
            return
        path = self.folder / f"{name}.json"
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != value:
            raise ValueError(
                f"the {name} of this run changed since it was started (see {path}); restore it, or start anew with "
                "run_name=..."
            )
        write_json(path, value)

    def status(self, **progress: Any) -> None:
        """Write the status file."""
        self._progress |= progress
        if not ranks.is_main():
            return
        write_json(
            self.folder / "status.json",
            {"run_id": self.id, "state": self.state, "pid": os.getpid(), "updated": now(), **self._progress},
        )
