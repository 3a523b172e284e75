"""What a figure was measured on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np


def describe_machine(device: Any) -> str:
    """Device, threads, what it multiplies bfloat16 with, torch's version."""
    import torch

    from mlsuperb.runtime.device import describe_device

    parts = [describe_device(device)]
    if device.type == "cpu":
        cpuinfo = Path("/proc/cpuinfo")
        flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.is_file() else set()
        parts.append(" ".join(sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"})) or "unknown CPU")
    return ", ".join([*parts, f"torch {torch.__version__}"])


def clocks() -> Any:
    """Wall and processor seconds: on a machine that others use, too, the latter are the ones to go by."""
    return np.array([time.perf_counter(), time.process_time()])
