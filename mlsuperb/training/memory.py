"""When the memory is too small: saying so, and how much there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from mlsuperb.training.trainable import Advice, Batch

PAYS = 1.03  # larger batches are worth their memory where they are so many times as fast
_SIGNS = (
    "DefaultCPUAllocator",
    "not enough memory",
    "CUDA out of memory",  # torch's allocator
    "CUDA error: out of memory",  # the driver
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
Drawn = TypeVar("Drawn")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is torch's (or Python's) way to say that no memory is left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


@contextmanager
def memory_errors_named(doing: Batch | str, advice: Advice) -> Iterator[None]:
    """Turn running out of memory, while working on a batch or doing something else ("at the update"), into one paragraph.

    Raises:
        ValueError: the memory is too small.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        where = doing if isinstance(doing, str) else f"on a batch of {doing.describe()}"
        raise ValueError(
            f"the memory is too small: it ran out {where} ({' '.join(str(error).split())[:120]} ...). {advice.memory}. "
            "Checkpoints are intact"
        ) from error


def drawn(batches: Iterator[Drawn], advice: Advice) -> Iterator[Drawn]:
    """`batches`, whose errors of memory are named: features that are kept are computed, or put on the device, as one is drawn.

    Raises:
        ValueError: the memory is too small.
    """
    done = object()
    while True:
        with memory_errors_named("as the next batch was made ready", advice):
            batch = next(batches, done)
        if batch is done:
            return
        yield batch  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One batch size: utterances, seconds with padding, seconds of a step, peak memory in 10^9 bytes."""

    num_utterances: int
    padded_s: float
    step_s: float
    peak_gb: float

    @property
    def rate(self) -> float:
        """Seconds of audio (with padding) per second."""
        return self.padded_s / self.step_s


def find_largest(
    measure: Callable[[int], Measured],
    *,
    start_gb: float,
    limit_gb: float,
    advice: str = "choose a smaller model",
) -> tuple[list[Measured], float]:
    """Measure batches of 1, 2, 3, 5, ... utterances, each about half as large again, until the next would not fit in
    `limit_gb` or two steps more are not `PAYS` times as fast; returns what was measured, and the padded seconds that fit.

    Args:
        measure: a batch of so many utterances of the greatest length; raises what torch does when memory runs out.
        start_gb: memory in use before the first.
        advice: what to do where not even one utterance fits.

    Raises:
        ValueError: not even one utterance fits.
    """
    found: list[Measured] = []
    num, limit_s = 1, float("inf")
    while not found or found[0].padded_s * num <= (limit_s := _fitting_s(found, start_gb=start_gb, limit_gb=limit_gb)):
        try:
            found.append(measure(num))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            limit_s = found[-1].padded_s if found else 0.0
            break
        if len(found) > 2 and found[-1].rate < PAYS * found[-3].rate:
            limit_s = _fitting_s(found, start_gb=start_gb, limit_gb=limit_gb)
            break
        num += max(1, num // 2)
    if not found or found[0].peak_gb > limit_gb:
        raise ValueError(f"not even one utterance of the greatest length fits into the memory: {advice}")
    return found, limit_s


def _fitting_s(found: Sequence[Measured], *, start_gb: float, limit_gb: float) -> float:
    """Padded seconds that fit, by the line through the last two measurements; through the start where there is one."""
    last = found[-1]
    before_s, before_gb = (found[-2].padded_s, found[-2].peak_gb) if len(found) > 1 else (0.0, start_gb)
    gb_per_s = max((last.peak_gb - before_gb) / (last.padded_s - before_s), 1e-6)
    return last.padded_s + (limit_gb - last.peak_gb) / gb_per_s
