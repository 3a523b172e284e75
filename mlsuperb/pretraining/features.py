"""Features of speech for clustering and labelling: one layer of an upstream, computed and handed on, never stored.
Letters: F frames, D feature size."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from mlsuperb.data.batching import BucketedBatches
from mlsuperb.data.loading import Loading
from mlsuperb.runtime.device import autocast, choose_device, device_problem, prepare_process
from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.frozen import frozen_features

log = logging.getLogger(__name__)

DEVICE = "extraction.device"  # as messages name it


@dataclass(kw_only=True)
class Extraction:
    """How features are computed.

    Args:
        layer: of the upstream; 0 is the input of its first Transformer block, or all that it has (MFCCs). mHuBERT-147 takes
            layer 6 of its first iteration and layer 9 of its second.
        batch_s: padded seconds of audio in a batch, at most.
        precision: `bf16` computes in bfloat16 where autocast allows.
        device: `auto` takes a free CUDA device, else the CPU.
        num_workers: processes that decode audio; `auto` is 4 for a run on a GPU and none on a CPU.
    """

    not_science: ClassVar = ("batch_s", "device", "num_workers")

    layer: NonNegativeInt = 0
    batch_s: PositiveFloat = 200.0
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"
    num_workers: NonNegativeInt | Literal["auto"] = "auto"

    @classmethod
    def problems(cls, *, device: str, **_: Any) -> list[str]:
        """What can be seen without a model."""
        return [problem] if (problem := device_problem(device, setting=DEVICE)) else []

    def of(self, upstream: Upstream, *, resample: bool = True) -> LayerFeatures:
        """The features of an upstream, on the device of these settings. Blocks above the layer are taken out of it.

        Raises:
            ValueError: it has no such layer.
        """
        if self.layer >= upstream.num_layers:
            raise ValueError(
                f"extraction.layer={self.layer}, but the upstream has the layers 0 to {upstream.num_layers - 1}. Choose one"
            )
        return LayerFeatures(self, upstream, resample=resample)


class LayerFeatures:
    """One layer of an upstream, frame by frame.

    Attributes:
        size: D.   rate_hz: frames per second.   device: where they are computed.
    """

    def __init__(self, settings: Extraction, upstream: Upstream, *, resample: bool = True) -> None:
        self.settings, self._resample = settings, resample
        self.device = prepare_process(choose_device(settings.device, setting=DEVICE))
        upstream.cut_above(settings.layer)
        self.upstream = upstream.to(self.device).eval()
        self.size, self.rate_hz = upstream.layer_size, upstream.frame_rate_hz
        self._loading = Loading(
            train=BucketedBatches(max_batch_s=settings.batch_s), eval_batch_s=settings.batch_s,
            num_workers=settings.num_workers, keep_audio_gb=0.0,
        )  # fmt: skip

    def record(self, upstream: Mapping[str, Any]) -> dict[str, Any]:
        """What a codebook says of the features that it was made of; `upstream` is the node of the configuration."""
        loaded = {key: value for key, value in self.upstream.record().items() if key != "checkpoint"}
        return {"name": upstream["name"], "layer": self.settings.layer, "size": self.size, "upstream": loaded}

    @torch.inference_mode()
    def of_rows(self, manifest: pd.DataFrame) -> Iterator[tuple[int, Tensor]]:
        """The number of a row of `manifest` and its features (F, D) in fp32, row by row in the order in which it is fastest."""
        if manifest.empty:
            return
        dataset = self._loading.dataset(manifest, encode=None, resample=self._resample)
        loader = self._loading.inference(dataset)
        batches: Sequence[np.ndarray] = loader.batch_sampler.batches  # type: ignore[union-attr]
        for rows, batch in zip(batches, loader, strict=True):
            batch = batch.to(self.device)
            with autocast(self.device, self.settings.precision):
                found = frozen_features(self.upstream, batch.wave_BT, batch.lengths_B)  # so batch_s changes no bit
            lengths = found.lengths_B.tolist()
            for row, features_FD, length in zip(rows.tolist(), found.layers[self.settings.layer], lengths, strict=True):
                yield row, features_FD[:length].float()
