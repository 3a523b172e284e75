"""Features of a frozen upstream, computed once: in the memory of the GPU while they fit, on disk, or computed anew.

`CachedSpeech` is read by worker processes: it brings features where they are on disk, and waves only where they are nowhere.
`FeatureCache` lives in the main process: it completes what they bring.

Letters: L layers, B batch, R rows of a block, M rows that are computed, T samples, F frames, D feature size, N utterances.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mlsuperb.cache.codec import DType, Kept, decode, empty, encode
from mlsuperb.cache.store import KEY_BYTES, Store, audio_key
from mlsuperb.data.dataset import Example, SpeechDataset, collate
from mlsuperb.data.sampling import Draw
from mlsuperb.runtime.device import autocast
from mlsuperb.types import SAMPLE_RATE_HZ, Batch, Features, Tensors, Utterance
from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.frozen import frozen_features

log = logging.getLogger(__name__)

WRITES_WAITING = 32  # utterances: what waits to be written is held in memory

# no key yet; a key; its file was found sound; its features are in the main process's device memory
NEW, KEYED, TRUSTED, RESIDENT = range(4)


class CachedExample(NamedTuple):
    """Utterance number `number`, with its features if they are on disk, else with its wave, or with neither if the main process
    has the features."""

    number: int
    example: Example
    kept: Kept | None


@dataclass(frozen=True)
class _Block(Tensors):
    """Features of some rows of a batch: `kept` (L, R, F, D), of `frames` frames each."""

    rows: Sequence[int]
    frames: Sequence[int]
    kept: Kept


@dataclass(frozen=True, kw_only=True)
class PartBatch(Tensors):
    """What a worker brings: the features that lie on disk, and waves for those that lie nowhere.

    Attributes:
        batch: with the waves (M, T) of `missing` alone, and the lengths of all.
        indices: of the utterances in their dataset.
        missing: rows whose features have to be computed.
        stored: the features that were on disk.
    """

    batch: Batch
    indices: tuple[int, ...]
    missing: tuple[int, ...]
    stored: _Block | None


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
            self.speech.forget(index)
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
            self.speech.forget(index)
            return CachedExample(index, self.speech.without_wave(index), kept)
        return CachedExample(index, example or self.speech[index], None)  # decoded once, not twice

    def collate(self, examples: Sequence[CachedExample]) -> PartBatch:
        """Pads waves, targets and features, each to its longest."""
        on_disk = {row: one.kept for row, one in enumerate(examples) if one.kept is not None}
        frames = [one.values.shape[1] for one in on_disk.values()]
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
            stored=_Block(list(on_disk), frames, pad(list(on_disk.values()))) if on_disk else None,
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

    return Kept(**{name: stack([one.tensors[name] for one in kept]) for name in kept[0].tensors})


class FeatureCache:
    """Gives each batch the features of its utterances, in the dtype in which they are kept, whether they were computed before
    or not: on a CPU what is in the cache changes no bit (`frozen_features`), on a GPU no more than the last bits of fp32.

    Args:
        upstream: with nothing to train.
        device: where it is.
        precision: in which it computes (`mlsuperb.runtime.device.autocast`).
        dtype: in which features are kept.
        store: features on disk; None for none.
        device_bytes: of features in the memory of the device.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        device: torch.device,
        precision: str,
        dtype: DType,
        store: Store | None,
        device_bytes: float,
    ) -> None:
        self.upstream, self.device, self.precision, self.dtype, self.store = upstream, device, precision, dtype, store
        self._seen_s = self._cached_s = 0.0  # audio
        self.room_bytes = device_bytes
        self._resident: dict[str, Kept] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="cache")
        self._writes: list[Future[None]] = []

    def of(self, speech: SpeechDataset) -> CachedSpeech:
        """The dataset whose batches bring features."""
        return CachedSpeech(speech, store=self.store, complete=self.complete)

    @torch.inference_mode(False)  # what validation keeps is trained on, too
    @torch.no_grad()
    def complete(self, dataset: CachedSpeech, part: PartBatch) -> Batch:
        """The batch with the features of all its rows; no wave."""
        blocks = []
        if part.stored:
            blocks.append(part.stored.to(self.device))
        if part.missing:
            blocks.append(self._computed(part))
        for block in blocks:
            self._keep(block, dataset, part)
        fresh = {row for block in blocks for row in block.rows}
        for row in sorted(set(range(len(part.indices))) - fresh):
            kept = self._resident[dataset.key(part.indices[row])]
            blocks.append(_Block((row,), (kept.values.shape[1],), kept.each_tensor(lambda tensor: tensor[:, None])))
        self._seen_s += part.batch.audio_s
        self._cached_s += part.batch.cached_s
        return replace(part.batch.to(self.device), features=self._joined(blocks, num_rows=len(part.indices)))

    def close(self) -> None:
        """Write what waits to be written, and log how much of the audio came from the cache."""
        self._writer.shutdown()
        for write in self._writes:
            write.result()  # what `Store.write` does not expect is raised here
        share = 100 * self._cached_s / max(self._seen_s, 1e-9)
        log.info("features of %.1f %% of the audio that was seen came from the cache", share)
        if self.store:
            log.info("%s: %.2f GB", self.store.folder.parent, self.store.used_bytes / 1e9)
            self.store.close()

    def _computed(self, part: PartBatch) -> _Block:
        wave_MT = part.batch.wave_BT.to(self.device, non_blocking=True)
        lengths_M = part.batch.lengths_B[list(part.missing)].to(self.device, non_blocking=True)
        with autocast(self.device, self.precision):
            features = frozen_features(self.upstream, wave_MT, lengths_M)
        layers = features.layers
        stack = layers if isinstance(layers, Tensor) else torch.stack(layers)
        frames = features.lengths_B.tolist()
        return _Block(part.missing, frames, encode(stack, self.dtype, frames))

    def _keep(self, block: _Block, dataset: CachedSpeech, part: PartBatch) -> None:
        """Remember single utterances of a block: on the device if there is room, and on disk if they are new. Slices are copied
        here and not by the writer: a second thread that computes gets OpenMP threads of its own, and where those of a process
        outnumber its cores, libgomp has all of them sleep at every barrier, to the end (`scripts/bench/second_thread.py`)."""
        for column, (row, frames) in enumerate(zip(block.rows, block.frames, strict=True)):
            index = part.indices[row]
            key, kept = dataset.key(index), block.kept.each_tensor(lambda one: one[:, column, :frames])  # noqa: B023
            if key not in self._resident and kept.num_bytes <= self.room_bytes:
                self._resident[key] = kept.each_tensor(lambda tensor: tensor.clone())
                self.room_bytes -= kept.num_bytes
            if key in self._resident:
                dataset.set_resident(index)
            if self.store and row in part.missing:
                if len(self._writes) >= WRITES_WAITING:  # the disk does not keep up
                    self._writes.pop(0).result()
                self._writes.append(self._writer.submit(self.store.write, key, kept.each_tensor(Tensor.contiguous)))

    def _joined(self, blocks: Sequence[_Block], *, num_rows: int) -> Features:
        frames = dict(sorted((row, n) for block in blocks for row, n in zip(block.rows, block.frames, strict=True)))
        lengths_B = torch.tensor(list(frames.values())).to(self.device, non_blocking=True)
        if len(blocks) == 1:  # its rows are in order
            return Features(decode(blocks[0].kept, blocks[0].frames), lengths_B, self.upstream.frame_rate_hz)
        whole = empty(
            num_layers=self.upstream.num_layers,
            num_rows=num_rows,
            num_frames=max(frames.values()),
            size=self.upstream.layer_size,
            dtype=self.dtype,
            device=self.device,
        )
        for block in blocks:
            for column, row in enumerate(block.rows):  # slices: an index would have to be sent to the device
                for name, tensor in block.kept.tensors.items():
                    whole.tensors[name][:, row, : tensor.shape[2]] = tensor[:, column]
        return Features(decode(whole, list(frames.values())), lengths_B, self.upstream.frame_rate_hz)
