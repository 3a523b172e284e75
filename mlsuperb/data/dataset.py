"""A manifest as a torch dataset: waves and targets, loaded when asked for, collated into a `Batch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from mlsuperb.data.audio import load_audio, load_part
from mlsuperb.data.audio_file import MEMBER
from mlsuperb.data.rows import Rows
from mlsuperb.data.sampling import Draw
from mlsuperb.types import SAMPLE_RATE_HZ, Batch, Utterance

NO_TARGET = np.zeros(0, np.int64)


class Example(NamedTuple):
    """One utterance (or a part of one), its wave (T,) float32 at 16 kHz and its target (S,) or (S, ...), int64 or float32."""

    utterance: Utterance
    wave_T: np.ndarray
    target: np.ndarray


class Examples(Protocol):
    """A dataset that a loader takes: of speech, of speech with features (`mlsuperb.cache`), of text.

    `amounts` (N,) is the size of each example, by which batches are made up: seconds of audio, characters of text.
    `languages` and `datasets` (N,) are what sampling laws look at.
    """

    @property
    def amounts(self) -> np.ndarray: ...

    @property
    def languages(self) -> np.ndarray: ...

    @property
    def datasets(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def __getitem__(self, which: int | Draw) -> Any: ...

    def collate(self, examples: Sequence[Any]) -> Any:
        """What a worker process makes of the items of a batch."""
        ...

    def finish(self, batch: Any) -> Any:
        """The batch that a model sees, of what `collate` made; called in the main process."""
        ...


class Speech(Examples, Protocol):
    """A dataset of speech, whose batches are `Batch`."""

    @property
    def durations_s(self) -> np.ndarray: ...

    def utterance(self, index: int) -> Utterance:
        """The manifest row at `index`."""
        ...


def collate(examples: Sequence[Example]) -> Batch:
    """Pad to the longest wave and the longest target, both with zeros (`SpeechDataset` has the shapes)."""
    waves = [torch.from_numpy(example.wave_T) for example in examples]
    num_samples = [len(wave) for wave in waves]
    targets = [torch.tensor(example.target) for example in examples]
    return Batch(
        ids=tuple(example.utterance.id for example in examples),
        languages=tuple(example.utterance.language for example in examples),
        wave_BT=pad_sequence(waves, batch_first=True),
        lengths_B=torch.tensor(num_samples),
        targets_BS=pad_sequence(targets, batch_first=True),
        target_lengths_B=torch.tensor([len(target) for target in targets]),
        audio_s=sum(num_samples) / SAMPLE_RATE_HZ,
    )


class SpeechDataset(Dataset[Example]):
    """The rows of a manifest of speech, as waves and targets.

    Its batch (`collate`), with B examples, T samples in the longest wave, S items in the longest target:

        ids, languages      B texts each
        wave_BT             (B, T) float32 at 16 kHz, zeros beyond each length
        lengths_B           (B,) int64, samples of each wave
        targets_BS          (B, S) of the dtype that `encode` gives (int64 token indices, float32 values; with the further
                            dimensions of a target, if it has any), zeros beyond each length; (B, 0) int64 without `encode`
        target_lengths_B    (B,) int64, items of each target
        audio_s             seconds of audio in it

    Args:
        manifest: rows with the columns of `Utterance`.
        encode: the target of an utterance as an array; None where there is no target (inference).
        target_rate_hz: of targets that run along the audio (a label per frame): their items per second, so that a target is
            cut with its audio. None: the target is of the whole utterance (its transcript), of which no part can be drawn.
        resample: convert other rates than 16 kHz; otherwise such a file is an error.
        keep_gb: whole waves are kept in memory up to this size (GiB) once they are decoded, so that a small corpus is decoded
            once.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        manifest: pd.DataFrame,
        *,
        encode: Callable[[Utterance], np.ndarray] | None = None,
        target_rate_hz: float | None = None,
        resample: bool = True,
        keep_gb: float = 0.0,
    ) -> None:
        self._rows = Rows(manifest, Utterance)
        self._encode, self._target_rate_hz = encode, target_rate_hz
        self._resample = resample
        self._room = int(keep_gb * 2**30)
        self._kept: dict[int, Example] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def durations_s(self) -> np.ndarray:
        """Seconds of each utterance, in manifest order."""
        return self._rows.values("duration_s")

    amounts = durations_s

    @property
    def languages(self) -> np.ndarray:
        """The language of each utterance, in manifest order."""
        return self._rows.values("language")

    @property
    def datasets(self) -> np.ndarray:
        """The dataset of each utterance, in manifest order."""
        return self._rows.values("dataset")

    def shards(self) -> tuple[np.ndarray, list[str]]:
        """The number (N,) of the shard that each utterance lies in, and the paths of the shards.

        Raises:
            ValueError: an utterance lies in none.
        """
        shard_N, paths = self._rows.matched("audio", MEMBER)
        if (outside := np.flatnonzero(shard_N < 0)).size:
            row = self.utterance(int(outside[0]))
            raise ValueError(
                f"loading.window_h is for speech in shards, but {outside.size:,} of {len(self):,} utterances do not lie in one "
                f"({row.id}: {row.audio}). Write shards with mlsuperb data shard, or leave loading.window_h out"
            )
        return shard_N, paths

    def utterance(self, index: int) -> Utterance:
        """The manifest row at `index`."""
        return self._rows[index]

    def __getitem__(self, which: int | Draw) -> Example:
        """The example at an index, or the part of it that a draw names: the same samples, whether the whole is kept or not."""
        draw = which if isinstance(which, Draw) else Draw(which)
        if not draw.whole:
            return self._part(draw)
        if draw.index in self._kept:
            return self._kept[draw.index]
        utterance = self.utterance(draw.index)
        example = Example(utterance, self._wave(utterance), self._target(draw.index, utterance))
        if example.wave_T.nbytes <= self._room:
            self._room -= example.wave_T.nbytes
            self._kept[draw.index] = example
        return example

    def _part(self, draw: Draw) -> Example:
        whole = self.utterance(draw.index)
        duration_s = whole.duration_s - draw.start_s if draw.duration_s is None else draw.duration_s
        part = replace(whole, start_s=whole.start_s + draw.start_s, duration_s=duration_s)
        target = self._target(draw.index, whole)
        if self._target_rate_hz:
            target = _stretch(target, draw.start_s, duration_s, rate_hz=self._target_rate_hz)
        elif self._encode:
            raise ValueError(
                f"{whole.id}: {duration_s:.2f} s of its {whole.duration_s:.2f} s were drawn, but its target is of the whole "
                "utterance. Leave out loading.crops, which is for targets that run along the audio"
            )
        if whole.duration_s * SAMPLE_RATE_HZ * 4 > self._room and draw.index not in self._kept:
            part_T = load_part(
                whole.audio, start_s=whole.start_s, duration_s=whole.duration_s, first_s=draw.start_s, length_s=duration_s,
                resample=self._resample,
            )  # fmt: skip
            return Example(part, part_T, target)
        kept = self[draw.index]  # decoded once, and cut from then on
        return Example(part, _stretch(kept.wave_T, draw.start_s, duration_s, rate_hz=SAMPLE_RATE_HZ), target)

    def forget(self, index: int) -> None:
        """Keep the wave of an utterance no longer: it will not be asked for again."""
        if (example := self._kept.pop(index, None)) is not None:
            self._room += example.wave_T.nbytes

    def without_wave(self, index: int) -> Example:
        """The example at `index` with an empty wave: no audio is decoded."""
        utterance = self.utterance(index)
        return Example(utterance, np.zeros(0, np.float32), self._target(index, utterance))

    def _wave(self, utterance: Utterance) -> np.ndarray:
        return load_audio(
            utterance.audio, start_s=utterance.start_s, duration_s=utterance.duration_s, resample=self._resample
        )

    def _target(self, index: int, utterance: Utterance) -> np.ndarray:
        return self._encode(utterance) if self._encode else NO_TARGET

    def finish(self, batch: Batch) -> Batch:
        """The batch as it is: nothing is left to do in the main process."""
        return batch


def _stretch(values: np.ndarray, start_s: float, duration_s: float, *, rate_hz: float) -> np.ndarray:
    """The values of `duration_s` seconds from `start_s` on."""
    first = round(start_s * rate_hz)
    return values[first : first + round(duration_s * rate_hz)]
