"""The settings of the feature cache, and whether there is anything to keep."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat

from mlsuperb.cache.budget import LEFT_FREE
from mlsuperb.cache.codec import DType, bytes_per_second
from mlsuperb.cache.features import FeatureCache
from mlsuperb.cache.identity import upstream_identity
from mlsuperb.cache.store import Store
from mlsuperb.data.dataset import Speech, SpeechDataset
from mlsuperb.runtime.speed import free_gb
from mlsuperb.upstreams.base import Upstream

log = logging.getLogger(__name__)

DEVICE_SHARE = 0.5  # of the memory that is free on a GPU once the model is there; the rest is for training


@dataclass(kw_only=True)
class Cache:
    """Where the features of a frozen upstream are kept.

    Args:
        dtype: fp32, int16 (in steps of each feature's own range), bf16, or int8 with one scale per frame; null computes them each
            time (`mlsuperb.cache.codec`).
        folder: of the files, shared by all runs and processes that name it.
        max_gb: files take no more than this (10^9 bytes), nor the last 2 GB of the disk; 0 for no files. Features that find no
            room are computed each time, with the same numbers.
        device_gb: features in a GPU's memory; auto is half of what is free. A CPU reads the files, which the system keeps in
            memory while there is room.
    """

    not_science: ClassVar = ("folder", "max_gb", "device_gb")

    dtype: DType | None
    folder: str
    max_gb: NonNegativeFloat = 100.0
    device_gb: NonNegativeFloat | Literal["auto"] = "auto"

    @contextmanager
    def opened(
        self,
        upstream: Upstream,
        settings: Mapping[str, Any],
        *,
        device: torch.device,
        precision: str,
        trained: bool,
        datasets: Sequence[SpeechDataset],
    ) -> Iterator[tuple[Speech, ...]]:
        """The datasets as they bring the upstream's features, inside; as they are where none are kept. For the arguments see
        `open`."""
        cache = self.open(upstream, settings, device=device, precision=precision, trained=trained)
        if cache is None:
            yield tuple(datasets)
            return
        log.info(self.forecast(cache, audio_s=sum(float(one.durations_s.sum()) for one in datasets)))
        with closing(cache):
            yield tuple(cache.of(one) for one in datasets)

    def open(
        self, upstream: Upstream, settings: Mapping[str, Any], *, device: torch.device, precision: str, trained: bool
    ) -> FeatureCache | None:
        """The cache of an upstream; None, with the reason in the log, where features would change or
        cost next to nothing.

        Args:
            settings: what it was built from, with its name.
            device: where it is.
            precision: in which it computes.
            trained: whether something in it is trained.
        """
        reasons = {
            "cache=off": self.dtype is None,
            "the upstream is trained": trained,
            "upstream.dropout_while_frozen changes them each time": upstream.dropout_while_frozen,
            "this upstream computes them as fast as they are read": upstream.cheap,
        }
        if found := [reason for reason, holds in reasons.items() if holds]:
            log.info("features are not kept: %s", found[0])
            return None
        assert self.dtype is not None
        # what a GPU computed has other last bits, which a run on a CPU is not to depend on
        computed = {"precision": precision, "dtype": self.dtype, "device": device.type}
        identity = {**upstream_identity(upstream, settings), **computed}
        store = None
        if self.max_gb:
            store = Store(Path(self.folder), name=settings["name"], identity=identity, max_bytes=self.max_gb * 1e9)
        room = self._device_bytes(device)
        return FeatureCache(
            upstream, device=device, precision=precision, dtype=self.dtype, store=store, device_bytes=room
        )

    def forecast(self, cache: FeatureCache, *, audio_s: float) -> str:
        """What the features of so much audio will take, and where."""
        upstream = cache.upstream
        per_second = bytes_per_second(
            num_layers=upstream.num_layers,
            size=upstream.layer_size,
            frame_rate_hz=upstream.frame_rate_hz,
            dtype=cache.dtype,
        )
        needed_gb = audio_s * per_second / 1e9
        room_gb = cache.room_bytes / 1e9
        places = [f"{room_gb:.0f} GB on the device"] if room_gb else []
        if cache.store:
            free_gb = (shutil.disk_usage(self.folder).free - LEFT_FREE) / 1e9
            disk_gb = max(0.0, min(self.max_gb, free_gb + cache.store.used_bytes / 1e9))
            places.append(f"{disk_gb:.0f} GB in {self.folder}")
            room_gb = max(room_gb, disk_gb)
        share = "all of it fits"
        if needed_gb > room_gb:
            share = f"{room_gb / needed_gb:.0%} fits, the rest is computed each time"
        return (
            f"features of {audio_s / 3600:.2f} h of audio take {needed_gb:.2f} GB ({upstream.num_layers} layers of "
            f"{upstream.layer_size}, {cache.dtype}); {' and '.join(places) or 'no room is given'}: {share}"
        )

    def _device_bytes(self, device: torch.device) -> float:
        if device.type != "cuda":
            return 0.0
        if self.device_gb == "auto":
            return DEVICE_SHARE * free_gb(device) * 1e9
        return self.device_gb * 1e9
