"""The processes of one job: how many there are, which one this is, what they tell each other.

`torchrun`, `accelerate launch` and a Slurm job of several tasks start the same command several times; each process is a rank
of one job. A job of one process is rank 0 of 1, and nothing here does anything then. Rank 0 alone writes files.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from mlsuperb.runtime.ending import take_sigterm

if TYPE_CHECKING:
    from torch import Tensor

Value = TypeVar("Value")
Summand = TypeVar("Summand", bound=Any)

# A rank that dies is noticed by the launcher, which ends the others; one that waits may wait for a corpus to be prepared.
PATIENCE = timedelta(days=1)


@dataclass
class _Group:
    rank: int
    world: int
    store: Any
    job: int = 0
    counting: bool = True


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What ended a job: on which rank (-1: on one that cannot tell any more), and whether someone wanted it to end."""

    rank: int
    error: str
    traceback: str
    interrupted: bool


_group: _Group | None = None


def rank() -> int:
    """Number of this process in the job, from 0."""
    return _group.rank if _group else 0


def world() -> int:
    """Processes in the job."""
    return _group.world if _group else 1


def counts() -> bool:
    """Whether what this rank adds to sums over ranks counts (see `counting`)."""
    return _group is None or _group.counting


def is_main() -> bool:
    """Whether this process writes and speaks for the job."""
    return rank() == 0


def launched() -> int:
    """How many processes a launcher says there are, before they have joined."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def local_rank() -> int:
    """Number of this process on its machine: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_world() -> int:
    """Processes of the job on this machine, before they have joined; at least so many where the launcher does not say."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", local_rank() + 1))


@contextmanager
def joined() -> Iterator[None]:
    """Inside, the processes that were started together are one job. If one fails, all end, and the one that was first
    raises what went wrong; the others leave without a word. Told to end (SIGTERM), they end as after Ctrl-C."""
    global _group
    take_sigterm()
    _ask_slurm()
    if launched() == 1:
        yield
        return
    if _group is not None:  # they are together already, for one run after the other
        _group.job += 1
        yield
        return
    _group = _join()
    try:
        yield
        wait()
    except BaseException as error:
        if first_failure(error).rank != rank():
            sys.exit(1)
        raise
    finally:
        _group = None
    _part()


def _join() -> _Group:
    import torch
    import torch.distributed as dist
    import torch.distributed.nn  # imported later, its default arguments would keep the group, and gloo's threads, for ever
    from torch.distributed.rendezvous import rendezvous

    store, number, size = next(iter(rendezvous("env://", timeout=PATIENCE)))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=size, timeout=PATIENCE)
    if number:
        logging.disable(logging.WARNING)  # what one says, all would say
    return _Group(number, size, dist.PrefixStore("mlsuperb", store))


def _part() -> None:
    import torch.distributed as dist

    logging.disable(logging.NOTSET)
    dist.destroy_process_group()


def _ask_slurm() -> None:
    """submitit starts a process for each task of a Slurm job, and tells torch nothing of it."""
    if "SUBMITIT_EXECUTOR" in os.environ and "RANK" not in os.environ:
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment

        if JobEnvironment().num_tasks > 1:
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False)


def first_failure(error: BaseException) -> Failure:
    """What went wrong first in this job. `error` is what this process ran into, perhaps only because another one is gone."""
    own = Failure(
        rank=rank(),
        error=": ".join(filter(None, [type(error).__name__, str(error)])),
        traceback="".join(traceback.format_exception(error)),
        interrupted=isinstance(error, (KeyboardInterrupt, SystemExit)),  # SystemExit: a queue wants its machine back
    )
    if _group is None:
        return own
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of the launcher, who sees a rank end: this one is about to
    try:
        text = _group.store.compare_set(f"first_error{_group.job}", "", json.dumps(asdict(own)))
    except RuntimeError:  # the process that kept the store has ended
        return replace(own, rank=-1)
    return Failure(**json.loads(text))


def gather(value: Value) -> list[Value]:
    """`value` of every rank, in their order; all have to call it."""
    if _group is None:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def total(tensor: Tensor) -> Tensor:
    """The sum of `tensor` over all ranks, on its device, without waiting for it; all have to call it."""
    if _group is None:
        return tensor
    import torch.distributed as dist

    dist.all_reduce(summed := tensor.clone())
    return summed


def sums(numbers: Mapping[str, Summand]) -> dict[str, Summand]:
    """By name, the sum over the ranks that have it, in the order of names; all have to call it."""
    found: dict[str, Summand] = {}
    for part in gather(numbers):
        for name, number in part.items():
            found[name] = found[name] + number if name in found else number
    return dict(sorted(found.items()))


def from_main(function: Callable[[], Value]) -> Value:
    """What `function` gives on rank 0, where alone it is called."""
    if _group is None:
        return function()
    import torch.distributed as dist

    values = [function() if is_main() else None]
    dist.broadcast_object_list(values, src=0)
    return values[0]  # type: ignore[return-value]


def main_first(function: Callable[[], Value]) -> Value:
    """What `function` gives on each rank; rank 0 calls it alone, then the others, who find what it wrote."""
    if not is_main():
        wait()
    value = function()
    if is_main():
        wait()
    return value


def wait() -> None:
    """Until all are here."""
    gather(None)


@contextmanager
def counting(yes: bool) -> Iterator[None]:
    """Inside, what this rank adds to sums over ranks counts, or it only takes part since all have to."""
    if _group is not None:
        _group.counting = yes
    try:
        yield
    finally:
        if _group is not None:
            _group.counting = True
