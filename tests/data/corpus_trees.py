"""Small corpora for the reader tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from mlsuperb.data.corpora.base import TO_THE_END_S, Corpus
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance


def write_wave(path: Path, *, duration_s: float = 1.0, rate_hz: int = 16_000, num_channels: int = 1) -> Path:
    """A quiet noise that is the same for the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(path.name.encode()))
    soundfile.write(path, rng.uniform(-0.1, 0.1, (round(duration_s * rate_hz), num_channels)), rate_hz)
    return path


def spoil(path: Path) -> None:
    """Make a file unreadable without a change of its size or time, which a stored manifest would notice."""
    before = path.stat()
    path.write_bytes(b"RIFF, and nothing more".ljust(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def write_pair(
    root: Path,
    dataset: str,
    language: str,
    lines: dict[str, list[str]],
    *,
    suffix: str = ".wav",
    duration_s: float = 1.0,
) -> Path:
    """One folder of an ML-SUPERB tree: transcript lines for each of `10min_train`, ..., and audio for every id."""
    folder = root / dataset / language
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in lines.items():
        (folder / f"transcript_{name}.txt").write_text("".join(f"{line}\n" for line in content), encoding="utf-8")
        for line in content:
            if line.split():
                write_wave(folder / "wav" / f"{line.split()[0]}{suffix}", duration_s=duration_s)
    return folder


def utterance(audio: Path | str, **changes: Any) -> Utterance:
    """A row like those of the readers."""
    row = {"id": Path(audio).stem, "text": "a b", "language": "eng", "dataset": "d", "split": "train"}
    return Utterance(**{**row, "audio": str(audio), "start_s": 0.0, "duration_s": TO_THE_END_S, **changes})


@dataclass(kw_only=True)
class ListCorpus(Corpus):
    """A corpus of given rows."""

    given: list[Any]
    files: list[Any]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        yield from self.given

    def sources(self) -> list[Path]:
        return [Path(name) for name in self.files]
