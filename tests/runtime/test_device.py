"""Which GPU a process takes; the machine's own GPUs are not asked."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mlsuperb.runtime import device as module
from mlsuperb.runtime.device import choose_device, device_in_use, prepare_process


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
    monkeypatch.setattr(module, "_in_use", torch.device("cpu"))
    for remembered in (module._free_gpu, module._share, module._lock_gpu):
        remembered.cache_clear()


def next_process(name: str = "auto") -> torch.device:
    """What another process would choose: locks are held by open files, so one more does as well."""
    for remembered in (module._free_gpu, module._share, module._lock_gpu):
        remembered.cache_clear()
    return choose_device(name)


def launched(monkeypatch: pytest.MonkeyPatch, *, rank: int, world: int, local_world: int = 2) -> None:
    names = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank % 2, "LOCAL_WORLD_SIZE": local_world}
    for name, value in names.items():
        monkeypatch.setenv(name, str(value))


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


def test_a_gpu_is_chosen_by_its_number() -> None:
    """`torch.cuda.set_device` refuses `cuda` alone."""
    for name, index in {"auto": 0, "cuda": 1, "cuda:1": 1}.items():
        assert torch.cuda._utils._get_device_index(next_process(name)) == index


def test_a_gpu_that_was_asked_for_by_number_is_taken_too(caplog: pytest.LogCaptureFixture) -> None:
    assert next_process("cuda:0") == torch.device("cuda:0")
    assert next_process() == torch.device("cuda:1")
    assert not caplog.text
    assert next_process("cuda:1") == choose_device("cuda:1") == torch.device("cuda:1")
    assert caplog.text.count("cuda:1 has a run of yours already; this one shares it") == 1


def test_a_job_takes_the_gpus_of_its_processes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as job:
        launched(job, rank=0, world=2)
        assert next_process() == torch.device("cuda:0")
    assert next_process() == torch.device("cuda:1"), "a run beside the job"
    assert not caplog.text
    launched(monkeypatch, rank=1, world=2)
    assert next_process() == torch.device("cuda:1")
    assert "cuda:1 has a run of yours already" in caplog.text


def test_a_process_may_see_the_gpu_that_is_bound_to_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with Slurm's --gpus-per-task=1."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for rank in range(4):
        launched(monkeypatch, rank=rank, world=4)
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda _, rank=rank: SimpleNamespace(uuid=f"gpu-{rank}")
        )
        assert next_process() == torch.device("cuda:0")
    with pytest.raises(ValueError, match="process 1 of this machine has no GPU to itself: there is 1"):
        next_process()  # the same one again
    launched(monkeypatch, rank=0, world=1, local_world=1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="gpu-0"))
    assert next_process() == torch.device("cuda:0"), "one process shares it"


def test_of_several_processes_each_takes_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, rank=5, world=6)
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
    assert device_in_use() == torch.device("cpu")
    assert torch.backends.cudnn.allow_tf32
    prepare_process(torch.device("cuda:1"))
    assert device_in_use() == torch.device("cuda:1")
    assert found == ["malloc", torch.device("cuda:1")]
    assert not torch.backends.cudnn.allow_tf32
