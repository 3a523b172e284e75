"""What takes less time on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

ROUNDS = 5
Name = TypeVar("Name", bound=str)


def thread_seconds(calls: Mapping[Name, Callable[[], object]]) -> dict[Name, float]:
    """The least time that each call takes one thread, in turns after one that does not count.

    It is the thread's own time, so that what else the machine does changes nothing: a run that is resumed must find the same.
    torch's threads and random numbers are afterwards what they were.
    """
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(1)
    try:
        taken_s: dict[Name, list[float]] = {name: [] for name in calls}
        for _ in range(1 + ROUNDS):
            for name, call in calls.items():
                start = time.thread_time()
                call()
                taken_s[name].append(time.thread_time() - start)
        return {name: min(every[1:]) for name, every in taken_s.items()}
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)
