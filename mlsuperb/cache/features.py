"""Features of a frozen upstream, computed once: in the memory of the GPU while they fit, on disk, or computed anew.

Letters: L layers, B batch, M rows that are computed, F frames, D feature size.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mlsuperb.cache.codec import DType, Kept, decode, empty, encode
from mlsuperb.cache.dataset import CachedSpeech, PartBatch
from mlsuperb.cache.store import Store
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.runtime.device import autocast
from mlsuperb.types import Batch, Features
from mlsuperb.upstreams.base import Upstream

log = logging.getLogger(__name__)

WRITES_WAITING = 32  # utterances: what waits to be written is held in memory


@dataclass(frozen=True)
class _Block:
    """Some rows of a batch: `kept` (L, rows, F, D), of `frames` frames each."""

    rows: Sequence[int]
    frames: Sequence[int]
    kept: Kept


class FeatureCache:
    """Gives each batch the features of its utterances, in the dtype in which they are kept, whether they were computed before
    or not: what is in the cache changes a result by no more than the neighbours do in whose batch features were computed (the
    last bits of fp32).

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
        if part.kept is not None:
            kept = part.kept.each_tensor(lambda tensor: tensor.to(self.device, non_blocking=True))
            blocks.append(_Block(part.stored, part.frames, kept))
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
            features = self.upstream(wave_MT, lengths_M)
        layers = features.layers
        stack = layers if isinstance(layers, Tensor) else torch.stack(layers)
        return _Block(part.missing, features.lengths_B.tolist(), encode(stack, self.dtype))

    def _keep(self, block: _Block, dataset: CachedSpeech, part: PartBatch) -> None:
        """Remember single utterances of a block: on the device if there is room, and on disk if they are new."""
        for column, (row, frames) in enumerate(zip(block.rows, block.frames, strict=True)):
            index = part.indices[row]
            key, kept = dataset.key(index), block.kept.each_tensor(lambda one: one[:, column, :frames])  # noqa: B023
            if key in self._resident or kept.num_bytes <= self.room_bytes:
                if key not in self._resident:
                    self._resident[key] = kept.each_tensor(lambda tensor: tensor.clone())
                    self.room_bytes -= kept.num_bytes
                dataset.set_resident(index)
            if self.store and row in part.missing:
                self._write(self.store, key, kept)

    def _write(self, store: Store, key: str, kept: Kept) -> None:
        """Beside the computing; waits if the disk does not keep up."""
        if len(self._writes) >= WRITES_WAITING:
            self._writes.pop(0).result()
        self._writes.append(self._writer.submit(store.write, key, kept))

    def _joined(self, blocks: Sequence[_Block], *, num_rows: int) -> Features:
        frames = dict(sorted((row, n) for block in blocks for row, n in zip(block.rows, block.frames, strict=True)))
        lengths_B = torch.tensor(list(frames.values())).to(self.device, non_blocking=True)
        if len(blocks) == 1:  # its rows are in order
            return Features(decode(blocks[0].kept), lengths_B, self.upstream.frame_rate_hz)
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
        return Features(decode(whole), lengths_B, self.upstream.frame_rate_hz)
