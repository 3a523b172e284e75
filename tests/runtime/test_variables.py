"""Environment variables that are recorded with a run."""

from __future__ import annotations

import pytest

from mlsuperb.runs.environment import environment


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
