"""Which GPU a process takes; the machine's own GPUs are not asked."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mlsuperb.runtime import device as module
from mlsuperb.runtime.device import choose_device, prepare_process


def forbidden(device: torch.device) -> None:
    raise AssertionError("choosing a device sets nothing up")


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"gpu-{index}"))
    monkeypatch.setattr(torch.cuda, "set_device", forbidden)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "_taken", [])


def next_process() -> torch.device:
    """What another process would choose: locks are held by open files, so one more does as well."""
    module._free_gpu.cache_clear()
    return choose_device("auto")


def test_each_run_takes_a_gpu_that_is_free(caplog: pytest.LogCaptureFixture) -> None:
    assert next_process() == torch.device("cuda:0")
    assert choose_device("auto") == torch.device("cuda:0"), "asked twice, a run stays where it is"
    assert next_process() == torch.device("cuda:1")
    assert not caplog.text
    assert next_process() == torch.device("cuda:0")
    assert "every GPU has a run of yours already" in caplog.text
    module._taken[1].close()  # that run ends
    assert next_process() == torch.device("cuda:1")
    assert choose_device("cuda:0") == torch.device("cuda:0")


def test_of_several_processes_each_takes_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "5", "WORLD_SIZE": "6", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"trainer\.device=cuda:0 is one GPU, but there are 6 processes"):
        choose_device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 2 of this machine has no GPU: there are 2"):
        choose_device("auto")


def test_a_process_is_prepared_for_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[torch.device | str] = []
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(module, "_keep_freed_memory", lambda: found.append("malloc"))
    assert prepare_process(torch.device("cpu")) == torch.device("cpu")
    assert found == ["malloc"]
    assert torch.backends.cudnn.allow_tf32
    prepare_process(torch.device("cuda:1"))
    assert found == ["malloc", torch.device("cuda:1")]
    assert not torch.backends.cudnn.allow_tf32
