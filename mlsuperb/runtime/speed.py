"""Time, speed and memory of this process."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch


def peak_memory_gb(device: torch.device) -> float:
    """Most memory in use at once (10^9 bytes): of a GPU, by this process since `begin_peak_memory`, with the features that a
    cache keeps there (`cache.device_gb`); else of RAM, since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def begin_peak_memory() -> None:
    """Let `peak_memory_gb` of a GPU begin anew: a sweep makes several runs in one process."""
    if torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(index)


def free_gb(device: torch.device) -> float:
    """What this process may still take, 10^9 bytes: of the GPU, or of the RAM."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (torch.cuda.mem_get_info(device)[0] + unused) / 1e9
    import psutil  # comes with accelerate

    return float(psutil.virtual_memory().available) / 1e9


@dataclass
class Speed:
    """Audio against time. The first `skip` batches pay for warming up and are not timed; `total_s` has them, too, counted from
    when this was made."""

    skip: int = 1
    audio_s: float = 0.0
    cached_s: float = 0.0
    total_s: float = 0.0
    _timed_audio_s: float = 0.0
    _timed_s: float = 0.0
    _seen: int = 0
    _last: float = field(default_factory=time.perf_counter)

    def add(self, *, audio_s: float, cached_s: float = 0.0) -> None:
        """Call when a batch is done; `cached_s` of its audio came from the feature cache."""
        now = time.perf_counter()
        passed_s = now - self._last
        if self._seen >= self.skip:
            self._timed_audio_s += audio_s
            self._timed_s += passed_s
        self.audio_s += audio_s
        self.cached_s += cached_s
        self.total_s += passed_s
        self._seen, self._last = self._seen + 1, now

    def over(self, ranks: Sequence[Speed]) -> None:
        """Becomes that of a job: its ranks worked at the same time."""
        for name in ("audio_s", "cached_s", "_timed_audio_s"):
            setattr(self, name, sum(getattr(one, name) for one in ranks))
        for name in ("total_s", "_timed_s"):
            setattr(self, name, max(getattr(one, name) for one in ranks))

    @property
    def rtfx(self) -> float | None:
        """RTFx: seconds of audio per second; None if nothing was timed."""
        return self._timed_audio_s / self._timed_s if self._timed_s else None

    @property
    def cached_share(self) -> float | None:
        """Share of the audio whose features came from the cache; None if there was none."""
        return self.cached_s / self.audio_s if self.audio_s else None


def format_duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
