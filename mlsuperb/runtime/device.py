"""Where to compute, and in which precision."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import sys
import sysconfig
import tempfile
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import torch

from mlsuperb.runtime import locks, ranks
from mlsuperb.runtime.files import no_link
from mlsuperb.runtime.products import onednn_in_use, use_faster_library
from mlsuperb.runtime.threads import use_own_cores

log = logging.getLogger(__name__)

_taken: list[IO[str]] = []  # locks of GPUs; closed, they would be free
_in_use = torch.device("cpu")


def device_problem(name: str, *, setting: str = "trainer.device") -> str | None:
    """Why `name` cannot be used here, else None. `auto` always can. `setting`: what it was given by, for the message."""
    try:
        kind = "cpu" if name == "auto" else torch.device(name).type
    except RuntimeError:
        return f"{setting}={name} is no device; give auto, cpu, cuda, cuda:1, ..."
    if kind == "cuda" and not torch.cuda.is_available():
        return (
            f"{setting}={name} was asked for, but torch {torch.__version__} sees no CUDA device here; give auto or cpu"
        )
    if kind not in ("cpu", "cuda"):
        return f"{setting}={name} is not supported; give auto, cpu, cuda, cuda:1, ..."
    if kind == "cuda" and (torch.device(name).index or 0) >= torch.cuda.device_count():
        return f"{setting}={name} was asked for, but there are {torch.cuda.device_count()} CUDA devices, counted from 0"
    if kind == "cuda" and torch.device(name).index is not None and ranks.launched() > 1:
        return f"{setting}={name} is one GPU, but there are {ranks.launched()} processes; give auto, each takes its own"
    return None


def compile_problem() -> str | None:
    """Why `torch.compile` cannot work here, else None: it writes C++ with Python's headers, and on a GPU Triton."""
    compiler, header = os.environ.get("CXX", "g++"), Path(sysconfig.get_path("include")) / "Python.h"
    triton = not torch.cuda.is_available() or find_spec("triton") is not None
    missing = {
        f"a C++ compiler ({compiler}; the environment variable CXX names another)": shutil.which(compiler),
        f"Python's headers ({header})": header.is_file(),
        "the package triton": triton,
    }
    if lacking := [name for name, there in missing.items() if not there]:
        return f"trainer.compile=true needs {' and '.join(lacking)}, not found here; install it, or set trainer.compile=false"
    return None


def choose_device(name: str = "auto", *, setting: str = "trainer.device") -> torch.device:
    """Device to compute on, a GPU always with its number. `auto` and `cuda`: the first CUDA device that no other run of this
    user has taken; if all are taken the first, with a warning; without one, `auto` is the CPU. Of several processes of a job,
    each takes the GPU of its number. Whatever GPU it is, it is locked for this process. Sets nothing up (`prepare_process`).

    Args:
        setting: what `name` was given by, for errors.

    Raises:
        ValueError: the device asked for is not there.
    """
    if problem := device_problem(name, setting=setting):
        raise ValueError(problem)
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    if device.type != "cuda":
        return device
    if ranks.launched() > 1:
        return torch.device("cuda", _gpu_of_rank(setting))
    if device.index is None:
        return torch.device("cuda", _free_gpu())
    _share(device.index)
    return device


def prepare_process(device: torch.device) -> torch.device:
    """Set this process up to compute on `device`, before a model is put there; returns it."""
    global _in_use
    _in_use = device
    if device.type == "cuda":
        torch.set_float32_matmul_precision("highest")  # as it is, unless TORCH_ALLOW_TF32_CUBLAS_OVERRIDE is set
        torch.cuda.set_device(device)  # accelerate takes the current one
        torch.backends.cudnn.allow_tf32 = False  # fp32 convolutions, as they are said to be
    else:
        use_own_cores()
        use_faster_library()
        _keep_freed_memory()
    return device


def device_in_use() -> torch.device:
    """The device that this process was last prepared for; before, the CPU. A machine may have a GPU that a run does not use."""
    return _in_use


def _keep_freed_memory() -> None:
    """Have glibc keep up to 1 GiB of what is freed for the next tensors of up to 32 MiB: to give them back to the system and to
    ask for them again, page by page, took 8 % of a training step. (mallopt(3); other C libraries are left alone.)"""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-1, 2**30)  # M_TRIM_THRESHOLD of malloc.h
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD; where glibc's own adjustment of it ends


def _gpu_of_rank(setting: str) -> int:
    number, num_gpus = ranks.local_rank(), torch.cuda.device_count()
    # Slurm may show each task the GPU that it bound to it, and no other (--gpus-per-task=1)
    bound = num_gpus == 1 and ranks.local_world() > 1
    if not _lock_gpu(0) if bound else number >= num_gpus:
        raise ValueError(
            f"process {number} of this machine has no GPU{bound * ' to itself'}: there {'is' if num_gpus == 1 else 'are'} "
            f"{num_gpus}. Start as many processes as there are GPUs (torchrun --nproc-per-node), or give {setting}=cpu"
        )
    index = 0 if bound else number
    _share(index)
    return index


@cache
def _free_gpu() -> int:
    """The first GPU that no other process holds the lock of. So the runs of a sweep, or those that are started by hand, do not
    meet on one GPU while another is idle. Where all are locked: GPU 0, with a warning."""
    for index in range(torch.cuda.device_count()):
        if _lock_gpu(index):
            return index
    log.warning("every GPU has a run of yours already; this one shares the first with it")
    return 0


@cache
def _share(index: int) -> None:
    """Lock a GPU that is to be used even if another process has its lock, which a warning says."""
    if not _lock_gpu(index):
        level = logging.WARNING if ranks.is_main() else logging.ERROR  # warnings of other ranks are not shown
        log.log(
            level,
            "cuda:%d has a run of yours already; this one shares it. CUDA_VISIBLE_DEVICES chooses other GPUs",
            index,
        )


@cache
def _lock_gpu(index: int) -> bool:
    """Lock a GPU until this process ends; False: another process has its lock."""
    name = f"mlsuperb-{os.getuid()}-{torch.cuda.get_device_properties(index).uuid}.lock"
    lock = open(Path(tempfile.gettempdir()) / name, "a", opener=no_link)  # noqa: SIM115
    if not locks.lock(lock, wait=False):
        lock.close()
        return False
    _taken.append(lock)
    return True


def describe_device(device: torch.device) -> str:
    """For people: `cuda (NVIDIA H200, 140 GB)`, `cpu (2 threads)`, `cpu (2 threads, oneDNN)`: where
    fp32 products are taken from there."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device} ({properties.name}, {properties.total_memory / 1e9:.0f} GB)"
    threads = torch.get_num_threads()
    return f"{device} ({threads} thread{'s' * (threads > 1)}{', oneDNN' * onednn_in_use()})"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Inference in the precision of training: bf16 autocast, or nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
