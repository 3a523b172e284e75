"""What models make of audio, as Python programs get it. Letters: L layers, F frames, D feature size, V tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlsuperb.runs.transcripts import Timed


@dataclass(frozen=True, repr=False)
class Layers:
    """All layers of an upstream for one audio: `values` (L, F, D) float32, `frame_rate_hz` frames per second."""

    values: np.ndarray
    frame_rate_hz: float

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, layer: int) -> np.ndarray:
        """One layer (F, D); 0 is the input of the first block."""
        found: np.ndarray = self.values[layer]
        return found

    def __repr__(self) -> str:
        layers, frames, size = self.values.shape
        return f"{layers} layers of {frames} frames x {size} ({self.frame_rate_hz:g} frames per second)"


@dataclass(frozen=True, repr=False)
class Posteriors:
    """What a model believes of each frame: `values` (F, V) float32, whose rows add up to 1, of `tokens`. `frame_rate_hz` is None
    where there is one frame for the whole audio (task=lid)."""

    values: np.ndarray
    tokens: tuple[str, ...]
    frame_rate_hz: float | None

    def __repr__(self) -> str:
        frames, tokens = self.values.shape
        rate = "one for the whole audio" if self.frame_rate_hz is None else f"{self.frame_rate_hz:g} per second"
        return f"posteriors of {frames} frames ({rate}) x {tokens} tokens"


@dataclass(frozen=True)
class Transcript:
    """The text of an audio (empty where the task has none), and the code of its language (None where the model names none).

    Attributes:
        languages: the probability of each language; empty where the model gives none.
        words: with `start_s`, `end_s` and `confidence`; None where the model does not align its output.
    """

    text: str
    language: str | None
    languages: Mapping[str, float] = field(default_factory=dict, repr=False)
    words: tuple[Timed, ...] | None = field(default=None, repr=False)
