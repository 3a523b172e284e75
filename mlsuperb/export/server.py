"""Answers of a submission to the audio that the evaluation server of the 2025 challenge sends."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from mlsuperb.config.build import job_of
from mlsuperb.runs.store import config_to_build
from mlsuperb.runs.transcription import transcribe_files
from mlsuperb.runs.windows import Windowing

MIN_DURATION_S = 0.1  # shorter audio is followed by silence; the heads' front ends need some frames
UNKNOWN = "[unk]"  # where the model names no language: never right, as it should be


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`language` in brackets (`[eng]`), and the text without it."""

    language: str
    text: str


class Server:
    """A trained run that answers. `run`: its folder, upstream included (`mlsuperb.export.challenge`)."""

    def __init__(self, run: Path, *, device: str = "auto") -> None:
        self.transcriber = job_of(config_to_build(run)).load(run, device=device)

    def __call__(self, recordings: Sequence[tuple[Sequence[float], int]]) -> list[Answer]:
        """Answers to recordings in their order, each given as samples in [-1, 1] and samples per second."""
        if not recordings:
            return []
        with tempfile.TemporaryDirectory() as place:
            paths = []
            for number, (samples, rate_hz) in enumerate(recordings):
                wave_T = np.asarray(samples, np.float32)
                wave_T = np.pad(wave_T, (0, max(0, round(MIN_DURATION_S * rate_hz) - len(wave_T))))
                paths.append(Path(place) / f"{number:06d}.wav")
                soundfile.write(paths[-1], wave_T, rate_hz, subtype="FLOAT")
            # whole, as test sets are decoded
            whole = Windowing(length_s=math.inf)
            hypotheses = transcribe_files(paths, lambda: self.transcriber, windowing=whole)
        return [_answer(one.hypothesis, one.predicted_language) for one in hypotheses]


def _answer(text: str, language: str | None) -> Answer:
    named = f"[{language}]" if language else UNKNOWN
    return Answer(language=named, text=text.removeprefix(named).strip())
