"""Threads of a CPU: how many, and that they do not turn in a loop where the user has not asked for it."""

from __future__ import annotations

import os
import subprocess
import sys

import joblib
import pytest
import torch

from mlsuperb.runtime import threads
from mlsuperb.runtime.device import prepare_process


@pytest.fixture
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_waiting_threads_sleep_unless_the_user_says_otherwise(
    own_settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads.share_cores()
    assert os.environ["GOMP_SPINCOUNT"] == threads.SPINS
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    threads.share_cores()
    assert os.environ.pop("GOMP_SPINCOUNT") == "7"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    threads.share_cores()
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize("program", ["mlsuperb", "mlsuperb.run"])
def test_every_program_says_so_before_torch_is_loaded(program: str, own_settings: None) -> None:
    code = (
        "import os, runpy, sys\n"
        "sys.argv[1:] = ['--help']\n"
        "try:\n"
        f"    runpy.run_module('{program}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit:\n"
        "    print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{threads.SPINS} False"


@pytest.mark.parametrize(("allowed", "given", "expected"), [(1, None, 1), (64, None, 2), (1, "2", 2)])
def test_no_more_threads_than_cores_of_its_own(
    allowed: int, given: str | None, expected: int, own_settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr(joblib, "cpu_count", lambda: allowed)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    prepare_process(torch.device("cpu"))
    assert torch.get_num_threads() == expected
