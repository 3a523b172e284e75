"""Speech with its units, in segments for training. Letters: B batch, F frames, S units without repetitions, T samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import PositiveFloat
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mlsuperb.data.dataset import Example, SpeechDataset, collate
from mlsuperb.data.sampling import Crops, Draw
from mlsuperb.types import SAMPLE_RATE_HZ, Batch, Utterance
from mlsuperb.units.labels import Labels


@dataclass(kw_only=True)
class Segments(Crops):
    """Segments of one length, from a random unit of each example on. They are a function of the random numbers given, which
    depend on seed, pass and batch alone.

    Args:
        max_s: their length in seconds; 8,960 samples as published.
        unit_s: seconds of a unit.
    """

    unit_s: PositiveFloat = 0.02

    @property
    def num_units(self) -> int:
        """Units of a segment."""
        return max(1, round(self.max_s / self.unit_s))

    def draws(self, batch: Sequence[int], durations_s: np.ndarray, *, rng: np.random.Generator) -> list[Draw]:
        """A segment of each example, none of which is shorter."""
        spare_B = np.rint(durations_s[batch] / self.unit_s).astype(int) - self.num_units
        first_B = rng.integers(0, spare_B + 1)
        length_s = self.num_units * self.unit_s
        return [
            Draw(index, first * self.unit_s, length_s) for index, first in zip(batch, first_B.tolist(), strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class UnitBatch(Batch):
    """Waves with their units: `targets_BS` has a unit for each frame, and `hop` samples of wave belong to each.

    `speaker_B`, `language_B` are the numbers that the vocoder gives them (0 where it knows none); `runs_BS` the units without
    repetitions, zero-padded, `run_lengths_B` how many they are, and `run_frames_BS` the frames of each that is surely whole:
    0 for padding and for the first and the last run, which a segment may cut (as in speech-resynthesis' `process_duration`).
    """

    speaker_B: Tensor
    language_B: Tensor
    runs_BS: Tensor
    run_lengths_B: Tensor
    run_frames_BS: Tensor


class UnitSpeech(SpeechDataset):
    """The rows of labelled speech, or some of them, cut to whole units.

    Args:
        labels: their units.
        rows: of the manifest of `labels`, with their numbers as the index.
        speakers, languages: known names, whose places are the numbers; empty where the vocoder has no embedding of them.
        keep_gb: see `SpeechDataset`.
    """

    def __init__(
        self,
        labels: Labels,
        rows: pd.DataFrame,
        *,
        speakers: Sequence[str],
        languages: Sequence[str],
        keep_gb: float = 0.0,
    ) -> None:
        super().__init__(
            rows.assign(duration_s=whole_units(labels, rows) / labels.rate_hz),
            target_rate_hz=labels.rate_hz,
            keep_gb=keep_gb,
        )
        self._labels, self._label_rows = labels, rows.index.to_numpy()
        self._hop = round(SAMPLE_RATE_HZ / labels.rate_hz)
        self._speaker = {name: number for number, name in enumerate(speakers)}
        self._language = {name: number for number, name in enumerate(languages)}

    def _target(self, index: int, utterance: Utterance) -> np.ndarray:
        units_F: np.ndarray = self._labels[self._label_rows[index]].astype(np.int64)
        return units_F[: round(self.utterance(index).duration_s * self._labels.rate_hz)]

    def collate(self, examples: Sequence[Example]) -> UnitBatch:
        """Pad, number speakers and languages, count runs."""
        batch: Any = collate(examples)
        runs = [torch.unique_consecutive(torch.from_numpy(one.target), return_counts=True) for one in examples]
        frames = [
            torch.nn.functional.pad(counts[1:-1], (min(1, len(counts)), min(1, len(counts) - 1))) for _, counts in runs
        ]
        utterances = [one.utterance for one in examples]
        return UnitBatch(
            **{field.name: getattr(batch, field.name) for field in fields(Batch)},
            speaker_B=torch.tensor([self._speaker.get(one.speaker, 0) for one in utterances]),
            language_B=torch.tensor([self._language.get(one.language, 0) for one in utterances]),
            runs_BS=pad_sequence([units for units, _ in runs], batch_first=True),
            run_lengths_B=torch.tensor([len(units) for units, _ in runs]),
            run_frames_BS=pad_sequence(frames, batch_first=True),
        )


def whole_units(labels: Labels, rows: pd.DataFrame) -> np.ndarray:
    """How many units (N,) of each row have all of their audio: some encoders give a frame less, others a part of one more."""
    in_audio_N = np.floor(rows["duration_s"].to_numpy() * labels.rate_hz + 1e-6).astype(int)
    units_N: np.ndarray = np.minimum(labels.lengths_N[rows.index.to_numpy()], in_audio_N)
    return units_N
