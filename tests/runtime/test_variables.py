"""Environment variables that are recorded with a run."""

from __future__ import annotations

import os

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from mlsuperb.runs.environment import environment
from mlsuperb.runtime.variables import take_out_accelerates


def test_what_can_change_numbers_is_recorded_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {
        "NVIDIA_TF32_OVERRIDE": "1", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1",
        "TORCH_COMPILE_DISABLE": "1", "PYTORCH_JIT": "0", "NCCL_ALGO": "Ring", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    left_out = {
        "TORCH_HOME": "/a", "TRITON_CACHE_DIR": "/b", "NCCL_SOCKET_IFNAME": "eth0", "HF_TOKEN": "secret", "PATH_OF_X": "/c",
        "CUDA_PATH": "/d",
    }  # fmt: skip
    for name, value in (kept | left_out).items():
        monkeypatch.setenv(name, value)
    found = environment()["variables"]
    assert kept.items() <= found.items()
    assert not left_out.keys() & found.keys()


def test_one_process_of_a_launcher_makes_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """With LOCAL_RANK an `Accelerator` starts NCCL and takes the GPU of that number, whichever the run has chosen."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    AcceleratorState._reset_state(reset_partial_state=True)
    take_out_accelerates()
    try:
        assert Accelerator().device == torch.device("cuda")  # the current one
        assert not torch.distributed.is_initialized()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    take_out_accelerates()
    assert os.environ["LOCAL_RANK"] == "1"
