"""A dataset that brings features where they are kept, and waves only where they are not.

Letters: L layers, B batch, R rows with features on disk, M rows without, T samples, F frames, D feature size, N utterances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mlsuperb.cache.codec import Kept
from mlsuperb.cache.store import KEY_BYTES, Store, audio_key
from mlsuperb.data.dataset import Example, SpeechDataset, collate
from mlsuperb.data.sampling import Draw
from mlsuperb.types import SAMPLE_RATE_HZ, Batch, Utterance

# no key yet; a key; its file was found sound; its features are in the main process's device memory
NEW, KEYED, TRUSTED, RESIDENT = range(4)


class CachedExample(NamedTuple):
    """Utterance number `number`, with its features if they are on disk, else with its wave, or with neither if the main process
    has the features."""

    number: int
    example: Example
    kept: Kept | None


@dataclass(frozen=True, kw_only=True)
class PartBatch:
    """What a worker brings: the features that lie on disk, and waves for those that lie nowhere.

    Attributes:
        batch: with the waves (M, T) of `missing` alone, and the lengths of all.
        indices: of the utterances in their dataset.
        missing: rows whose features have to be computed.
        stored: rows whose features were on disk: `kept` (L, R, F, D), of `frames` frames each.
    """

    batch: Batch
    indices: tuple[int, ...]
    missing: tuple[int, ...]
    stored: tuple[int, ...]
    frames: tuple[int, ...]
    kept: Kept | None

    def pin_memory(self) -> PartBatch:
        """The same in page-locked memory, from which it is copied to a GPU while the GPU works."""
        kept = None if self.kept is None else self.kept.each_tensor(lambda tensor: tensor.pin_memory())
        return replace(self, batch=self.batch.pin_memory(), kept=kept)


class CachedSpeech(Dataset[CachedExample]):
    """The utterances of `speech`, for a loader; its batches are those of `SpeechDataset`, with `features` in place of waves.
    What is known of an utterance (its key, its length, where its features are) lies in memory that workers and main process
    share.

    Args:
        store: features on disk, if there are any.
        complete: makes a whole batch of a part, in the main process.
    """

    def __init__(
        self, speech: SpeechDataset, *, store: Store | None, complete: Callable[[CachedSpeech, PartBatch], Batch]
    ) -> None:
        self.speech = speech
        self.amounts = self.durations_s = speech.durations_s
        self._store, self._complete = store, complete
        self._state_N = torch.full((len(speech),), NEW, dtype=torch.uint8).share_memory_()
        self._keys_NK = torch.zeros((len(speech), KEY_BYTES), dtype=torch.uint8).share_memory_()
        self._samples_N = torch.zeros(len(speech), dtype=torch.int64).share_memory_()

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_complete": None}  # a worker process needs no model

    def __len__(self) -> int:
        return len(self.speech)

    @property
    def languages(self) -> np.ndarray:
        """The language of each utterance."""
        return self.speech.languages

    @property
    def datasets(self) -> np.ndarray:
        """The dataset of each utterance."""
        return self.speech.datasets

    def utterance(self, index: int) -> Utterance:
        """The manifest row at `index`."""
        return self.speech.utterance(index)

    def key(self, index: int) -> str:
        """The key of the audio of an utterance that was loaded before."""
        return bytes(self._keys_NK[index].tolist()).hex()

    def set_resident(self, index: int) -> None:
        """From now on nothing needs to be loaded for it."""
        self._state_N[index] = RESIDENT

    def __getitem__(self, which: int | Draw) -> CachedExample:
        """The example at an index, or that a draw names.

        Raises:
            ValueError: a part of an utterance was drawn.
        """
        draw = which if isinstance(which, Draw) else Draw(which)
        if not draw.whole:
            raise ValueError("features are kept of whole utterances: leave out loading.crops, or set cache=off")
        index = draw.index
        if self._state_N[index] == RESIDENT:
            return CachedExample(index, self.speech.without_wave(index), None)
        example = None
        if self._state_N[index] == NEW:
            example = self.speech[index]
            self._keys_NK[index] = torch.tensor(list(bytes.fromhex(audio_key(example.wave_T))), dtype=torch.uint8)
            self._samples_N[index] = len(example.wave_T)
            self._state_N[index] = KEYED
        trusted = bool(self._state_N[index] == TRUSTED)
        kept = self._store.read(self.key(index), trusted=trusted) if self._store else None
        if kept is not None:
            self._state_N[index] = TRUSTED
            return CachedExample(index, self.speech.without_wave(index), kept)
        return CachedExample(index, example or self.speech[index], None)  # decoded once, not twice

    def collate(self, examples: Sequence[CachedExample]) -> PartBatch:
        """Pads waves, targets and features, each to its longest."""
        kept = [one.kept for one in examples if one.kept is not None]
        missing = tuple(row for row, one in enumerate(examples) if len(one.example.wave_T))
        indices = tuple(one.number for one in examples)
        batch = collate([one.example for one in examples])  # its audio is what has to be computed
        lengths_B = self._samples_N[list(indices)]
        audio_s = int(lengths_B.sum()) / SAMPLE_RATE_HZ
        facts: dict[str, Any] = {"lengths_B": lengths_B, "audio_s": audio_s, "cached_s": audio_s - batch.audio_s}
        return PartBatch(
            batch=replace(batch, wave_BT=batch.wave_BT[list(missing)], **facts),
            indices=indices,
            missing=missing,
            stored=tuple(row for row, one in enumerate(examples) if one.kept is not None),
            frames=tuple(one.values.shape[1] for one in kept),
            kept=pad(kept) if kept else None,
        )

    def finish(self, part: PartBatch) -> Batch:
        """The batch that the model sees; called in the main process."""
        return self._complete(self, part)


def pad(kept: Sequence[Kept]) -> Kept:
    """Features of single utterances (L, F, D) as one block (L, R, F, D), zero beyond each length."""

    def stack(tensors: Sequence[Tensor]) -> Tensor:
        num_layers, _, *rest = tensors[0].shape
        longest = max(tensor.shape[1] for tensor in tensors)
        block = tensors[0].new_empty((num_layers, len(tensors), longest, *rest))
        for row, tensor in enumerate(tensors):
            block[:, row, : tensor.shape[1]] = tensor
            block[:, row, tensor.shape[1] :] = 0
        return block

    scales = [one.scales for one in kept if one.scales is not None]
    return Kept(stack([one.values for one in kept]), stack(scales) if scales else None)
