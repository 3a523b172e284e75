"""How far a training has come, and what it has cost."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mlsuperb.files import write_atomic

PROGRESS_FILE = "training.json"


@dataclass
class Progress:
    """Counted in iterations (one batch forward and backward); saved with every checkpoint.

    `history` has one entry an epoch: its number, the training loss and every figure of its validation. `best` lists the
    epochs whose weights are kept, best first. `counts` adds up what the objective counts (`Loss.counts`). `wall_s` is time
    spent training, over all starts; of `timed_audio_s` are the updates that took `timed_s`: all but the first few of each start.
    """

    iteration: int = 0
    num_utterances: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0
    timed_audio_s: float = 0.0
    timed_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: list[int] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs finished, validation included."""
        return len(self.history)

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio a second, in updates; None before any was timed."""
        return self.timed_audio_s / self.timed_s if self.timed_s else None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for a checkpoint or JSON."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_atomic(path, [json.dumps(self.to_dict(), indent=2), "\n"])

    @classmethod
    def load(cls, path: Path) -> Progress:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def peak_memory_gb(device: torch.device) -> float:
    """Most memory this process has used, on the GPU where there is one, else in RAM (10^9 bytes)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


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
        """RTFx: seconds of audio a second; None if nothing was timed."""
        return self._timed_audio_s / self._timed_s if self._timed_s else None

    @property
    def cached_share(self) -> float | None:
        """Share of the audio whose features came from the cache; None if there was none."""
        return self.cached_s / self.audio_s if self.audio_s else None


class Estimate:
    """Tells how long a training will take, once its first steps have been timed.

    Args:
        total: iterations of the whole training.
        skip: updates that do not count, since the first ones pay for warming up.
        sample: updates to time.
    """

    def __init__(self, *, total: int, skip: int = 3, sample: int = 12) -> None:
        self._total, self._skip, self._sample = total, skip, sample
        self._seen, self._start_s, self._start_iteration = 0, 0.0, 0

    @property
    def is_warm(self) -> bool:
        """Whether the updates that do not count are over."""
        return self._seen >= self._skip

    def tick(self, iteration: int, device: torch.device) -> str | None:
        """Call after every update with the iterations done so far; returns the message once."""
        self._seen += 1
        if self._seen == self._skip:
            self._start_s, self._start_iteration = time.perf_counter(), iteration
        if self._seen != self._skip + self._sample:
            return None
        step_s = (time.perf_counter() - self._start_s) / (iteration - self._start_iteration)
        left = self._total - iteration
        return (
            f"{step_s:.2f} s an iteration: about {format_duration(left * step_s)} for the {left:,} that are left, "
            f"validation not counted; peak memory so far {peak_memory_gb(device):.1f} GB"
        )


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
