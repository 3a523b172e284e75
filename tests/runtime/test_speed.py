"""Memory of a GPU, of which torch's figures are made up."""

from __future__ import annotations

import pytest
import torch

from mlsuperb.cache.settings import Cache
from mlsuperb.runtime.speed import begin_peak_memory, free_gb, peak_memory_gb

GPU = torch.device("cuda", 1)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """The peak of each of two, in bytes."""
    peaks = {0: 3e9, 1: 5e9}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peaks[device.index])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda index: peaks.update({index: 1e9}))
    return peaks


def test_a_peak_is_that_since_a_run_began(gpus: dict[int, float]) -> None:
    assert peak_memory_gb(GPU) == 5
    begin_peak_memory()
    assert gpus == {0: 1e9, 1: 1e9}, "what is still there counts"


def test_without_a_gpu_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: pytest.fail("asked"))
    begin_peak_memory()


def test_what_torch_holds_unused_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the cache as to the search of the largest batch."""
    figures = {"mem_get_info": (20e9, 80e9), "memory_reserved": 50e9, "memory_allocated": 10e9}
    for name, value in figures.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_gb(GPU) == 60
    assert Cache(dtype="fp32", folder="unused")._device_bytes(GPU) == 30e9
