"""Scripts of runs in processes of their own, one or several ranks, and runs in which nothing depends on which rank draws."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

TESTS = Path(__file__).resolve().parent
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def status_of(script: str, *arguments: str) -> int:
    """Run a script; returns its exit status."""
    return _done(script, *arguments).returncode


def on_two_ranks(script: str, *arguments: str) -> None:
    """Run a script in two processes that talk through gloo."""
    done = _done(*TORCHRUN, script, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]


def check_parted() -> None:
    """Check that a job's group is gone with its threads: one that lives on may abort its process at the end (SIGABRT)."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]  # none outside Linux
    assert not [name for name in names if "gloo" in name], names


def _done(*words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    threads = str(torch.get_num_threads())  # as many as here: sums over other numbers of threads have other last bits
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": threads}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)


@contextmanager
def without_dropout() -> Iterator[None]:
    """Inside, trainings drop nothing: each rank draws random numbers of its own."""
    from torch import nn

    from mlsuperb.training.loop import Loop

    plain = Loop.run

    def undropped(loop: Loop, batches: Any) -> None:
        for module in loop.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            elif isinstance(getattr(module, "dropout", None), float):  # attention of transformers
                module.dropout = 0.0
        plain(loop, batches)

    Loop.run = undropped  # type: ignore[method-assign]
    try:
        yield
    finally:
        Loop.run = plain  # type: ignore[method-assign]
