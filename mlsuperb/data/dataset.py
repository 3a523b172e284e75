"""A manifest as a torch dataset: waves and targets, loaded when asked for, collated into a `Batch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from mlsuperb.data.audio import RATE_HZ, load_audio
from mlsuperb.data.rows import Rows
from mlsuperb.types import Batch, Utterance


class Example(NamedTuple):
    """One utterance, its wave (T,) at 16 kHz and its target token indices."""

    utterance: Utterance
    wave_T: np.ndarray
    target: list[int]


class Speech(Protocol):
    """What a loader takes: a `SpeechDataset`, or one that brings features (`mlsuperb.cache`)."""

    @property
    def durations_s(self) -> np.ndarray: ...

    @property
    def languages(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def utterance(self, index: int) -> Utterance: ...

    def collate(self, examples: Sequence[Any]) -> Any:
        """What a worker makes of the items of a batch."""
        ...

    def finish(self, batch: Any) -> Batch:
        """The batch that a model sees, of what `collate` made; called in the main process."""
        ...


class SpeechDataset(Dataset[Example]):
    """The rows of a manifest, as waves and targets.

    Args:
        manifest: rows with the columns of `Utterance`.
        encode: target token indices of an utterance; None where there is no target (inference).
        resample: convert other rates than 16 kHz; otherwise such a file is an error.
        keep_gb: waves are kept in memory up to this size once they are decoded, so that a small corpus is decoded once.
    """

    def __init__(
        self,
        manifest: pd.DataFrame,
        *,
        encode: Callable[[Utterance], list[int]] | None = None,
        resample: bool = True,
        keep_gb: float = 0.0,
    ) -> None:
        self._rows = Rows(manifest)
        self._encode = encode
        self._resample = resample
        self._room = int(keep_gb * 2**30)
        self._kept: dict[int, Example] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def durations_s(self) -> np.ndarray:
        """Seconds of each utterance, in manifest order."""
        return self._rows.durations_s

    @property
    def languages(self) -> np.ndarray:
        """The language of each utterance, in manifest order."""
        return self._rows.languages

    def utterance(self, index: int) -> Utterance:
        """The manifest row at `index`."""
        return self._rows.utterance(index)

    def __getitem__(self, index: int) -> Example:
        if index in self._kept:
            return self._kept[index]
        utterance = self.utterance(index)
        wave_T = load_audio(
            utterance.audio,
            start_s=utterance.start_s,
            duration_s=utterance.duration_s,
            resample=self._resample,
        )
        example = Example(utterance, wave_T, self._target(utterance))
        if wave_T.nbytes <= self._room:
            self._room -= wave_T.nbytes
            self._kept[index] = example
        return example

    def without_wave(self, index: int) -> Example:
        """The example at `index` with an empty wave: no audio is decoded."""
        utterance = self.utterance(index)
        return Example(utterance, np.zeros(0, np.float32), self._target(utterance))

    def _target(self, utterance: Utterance) -> list[int]:
        return self._encode(utterance) if self._encode else []

    def collate(self, examples: Sequence[Example]) -> Batch:
        """A batch of some of its examples; see `collate`."""
        return collate(examples)

    def finish(self, batch: Batch) -> Batch:
        """What is left to do in the main process: nothing."""
        return batch


def collate(examples: Sequence[Example]) -> Batch:
    """Pad to the longest wave and the longest target, both with zeros."""
    waves = [torch.from_numpy(example.wave_T) for example in examples]
    num_samples = [len(wave) for wave in waves]
    targets = [torch.tensor(example.target, dtype=torch.long) for example in examples]
    return Batch(
        ids=tuple(example.utterance.id for example in examples),
        languages=tuple(example.utterance.language for example in examples),
        wave_BT=pad_sequence(waves, batch_first=True),
        lengths_B=torch.tensor(num_samples),
        targets_BS=pad_sequence(targets, batch_first=True),
        target_lengths_B=torch.tensor([len(target) for target in targets]),
        audio_s=sum(num_samples) / RATE_HZ,
    )
