"""Systems on disk and an ASR model that needs no weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

TEXTS = {"utt1": "Guten Tag!", "utt2": "Wie geht es Ihnen", "utt3": "你好 世界", "utt4": "Und: tschüss."}
LANGUAGES = {"utt1": "deu", "utt2": "deu", "utt3": "cmn", "utt4": "deu"}


def tone(name: str, *, seconds: float = 0.4, level: float = 0.1) -> np.ndarray:
    """A sound of its own for each name."""
    generator = np.random.default_rng(sum(name.encode()))
    time_T = np.arange(round(16000 * seconds)) / 16000
    wave_T = sum(np.sin(2 * np.pi * 100 * n * time_T + generator.uniform(0, 6)) for n in range(1, 6))
    return (level * wave_T / np.sqrt(2.5)).astype(np.float32)


def write_system(folder: Path, *, rate_hz: int = 16000, level: float = 0.1, names: Iterable[str] = TEXTS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        wave_T = tone(name, level=level)
        soundfile.write(folder / f"{name}.wav", wave_T[:: 16000 // rate_hz], rate_hz, subtype="FLOAT")
    return folder


def write_references(path: Path, *, with_language: bool = True) -> Path:
    head = ["utterance", "text", *(["language"] if with_language else [])]
    rows = [[name, text, *([LANGUAGES[name]] if with_language else [])] for name, text in TEXTS.items()]
    path.write_text("\n".join("\t".join(row) for row in [head, *rows]) + "\n", encoding="utf-8")
    return path


class FakeRecogniser:
    """Tells an utterance by its samples and says its text; where the level is low, with errors. Counts its calls."""

    def __init__(self, *, dies_after: int | None = None) -> None:
        self.record: Mapping[str, Any] = {"checkpoint": "fake", "sha256": None}
        self.batch_size = 2
        self.dies_after = dies_after
        self.calls: list[tuple[str, int]] = []

    def problem(self, language: str) -> str | None:
        return None if language in ("deu", "cmn") else f"it has no token for {language}"

    def texts(self, waves: Sequence[np.ndarray], *, language: str) -> list[str]:
        if self.dies_after is not None and len(self.calls) >= self.dies_after:
            raise KeyboardInterrupt
        self.calls.append((language, len(waves)))
        return [self._text(wave_T) for wave_T in waves]

    @staticmethod
    def _text(wave_T: np.ndarray) -> str:
        known = {name: tone(name)[: len(wave_T)] for name in TEXTS}
        name = max(known, key=lambda one: float(np.corrcoef(known[one][:1000], wave_T[:1000])[0, 1]))
        weak = float(np.sqrt(np.mean(wave_T**2))) < 0.05
        return TEXTS[name].upper().replace("E", "X") if weak else TEXTS[name].upper() + "."


def no_bar(steps: Iterable[Any], _number: int, _what: str) -> Iterable[Any]:
    return steps
