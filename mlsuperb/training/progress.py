"""How far a training has come, and what it has cost."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mlsuperb.runtime.files import write_atomic
from mlsuperb.runtime.records import from_json
from mlsuperb.runtime.speed import format_duration, peak_memory_gb

PROGRESS_FILE = "training.json"


@dataclass
class Progress:
    """Counted in iterations (one batch forward and backward); saved with every checkpoint.

    `history` has one entry per epoch: its number, the training loss, the training's rates (`Loss.rates`), every figure of its
    validation, and `Trainable.kept_curves`, whose names have a `/`. `best` lists the epochs whose weights are kept, best first.
    `num_utterances` counts examples. `counts` adds up `Loss.counts`, and skipped updates (`skipped_steps`). `wall_s` is the time
    spent training, over all starts; the updates that took `timed_s`, all but the first few of each start, processed
    `timed_audio_s`, in the unit of `Batch.amount`: seconds of audio where there is audio. `memory_gb`: the most memory (10^9
    bytes) that any start took by the end of its training.
    """

    iteration: int = 0
    num_utterances: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0
    timed_audio_s: float = 0.0
    timed_s: float = 0.0
    memory_gb: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: list[int] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs finished, validation included."""
        return len(self.history)

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio (or what `Batch.amount` counts) per second of updates; None before any was timed."""
        return self.timed_audio_s / self.timed_s if self.timed_s else None

    def peak_gb(self, device: torch.device) -> float:
        """The most memory (10^9 bytes) that any start of the training took, and this process up to now."""
        return max(self.memory_gb, peak_memory_gb(device))

    def ranked(self, figure: str) -> list[int]:
        """The epochs by a figure of their validation, best (lowest) first; of equal ones the earlier."""
        return sorted(range(1, self.epoch + 1), key=lambda epoch: (self.history[epoch - 1][figure], epoch))

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for a checkpoint or JSON."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_atomic(path, [json.dumps(self.to_dict(), indent=2), "\n"])

    @classmethod
    def load(cls, path: Path) -> Progress:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is damaged.
        """
        return from_json(cls, path, remedy="Restore a copy of the run")


class Estimate:
    """Tells how long a training will take, by its first updates, once those are over that pay for warming up.

    Args:
        progress: of the training, whose timed updates count.
        total: iterations of the whole training.
    """

    SKIP, SAMPLE = 3, 12  # updates

    def __init__(self, progress: Progress, *, total: int) -> None:
        self._progress, self._total = progress, total
        self._seen, self._start_s, self._start_iteration = 0, progress.timed_s, progress.iteration

    @property
    def is_warm(self) -> bool:
        """Whether the updates that do not count are over."""
        return self._seen >= self.SKIP

    def tick(self, device: torch.device) -> str | None:
        """Call after every update; returns the message once."""
        self._seen += 1
        if self._seen == self.SKIP:
            self._start_iteration = self._progress.iteration
        if self._seen != self.SKIP + self.SAMPLE:
            return None
        step_s = (self._progress.timed_s - self._start_s) / (self._progress.iteration - self._start_iteration)
        left = self._total - self._progress.iteration
        return (
            f"{step_s:.2f} s per iteration: about {format_duration(left * step_s)} for the {left:,} that are left, "
            f"validation not counted; peak memory so far {peak_memory_gb(device):.1f} GB"
        )
