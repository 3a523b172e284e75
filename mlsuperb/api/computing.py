"""What models make of files. Letters: L layers, B batch, F frames, D feature size, V tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mlsuperb.api.records import Layers, Posteriors
from mlsuperb.benchmark.recogniser import Recogniser
from mlsuperb.data.audio_file import AudioError, audio_info
from mlsuperb.data.dataset import Speech, SpeechDataset
from mlsuperb.data.loading import Loading
from mlsuperb.runtime.device import autocast
from mlsuperb.types import Batch, Features
from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.frozen import frozen_features

_ROW = {"text": "", "language": "", "dataset": "", "split": "files", "speaker": "", "start_s": 0.0}
_FRAMES = 10**5  # of features, from which the rate of a head's frames is taken


def layers(
    paths: Sequence[Path],
    upstream: Upstream,
    loading: Loading,
    *,
    device: torch.device,
    precision: str,
    kept: Any = nullcontext,
) -> list[Layers]:
    """All layers of each file, in fp32.

    Args:
        kept: makes a context of the dataset, in which its batches bring features that were computed before.

    Raises:
        ValueError: a file cannot be read, all such files being named.
    """
    dataset = _dataset(paths, loading)
    context: AbstractContextManager[Speech] = kept(dataset)
    found: dict[int, Layers] = {}
    with context as speech, torch.inference_mode():
        for indices, batch in _batches(speech, loading):
            features = _features(batch.to(device), upstream, precision=precision)
            for row, (index, frames) in enumerate(zip(indices, features.lengths_B.tolist(), strict=True)):
                values_LFD = torch.stack([layer_BFD[row, :frames].float() for layer_BFD in features.layers])
                found[index] = Layers(values_LFD.cpu().numpy(), upstream.frame_rate_hz)
    return [found[index] for index in range(len(paths))]


def posteriors(paths: Sequence[Path], recogniser: Recogniser) -> list[Posteriors]:
    """The posteriors of each file.

    Raises:
        ValueError: a file cannot be read, all such files being named.
    """
    loading, tokens = recogniser.loading, tuple(recogniser.vocabulary.tokens)
    rate_hz = _rate_hz(recogniser)
    found: dict[int, Posteriors] = {}
    with torch.inference_mode():
        for indices, batch in _batches(_dataset(paths, loading), loading):
            encoded = recogniser.encode(batch).posteriors
            for row, (index, frames) in enumerate(zip(indices, encoded.lengths_B.tolist(), strict=True)):
                found[index] = Posteriors(encoded.values[row, :frames].exp().cpu().numpy(), tokens, rate_hz)
    return [found[index] for index in range(len(paths))]


def _rate_hz(recogniser: Recogniser) -> float | None:
    """Frames per second of the posteriors; every head keeps one in a whole number of frames."""
    model = recogniser.model
    if model.objective.utterance_level:
        return None
    return model.upstream.frame_rate_hz / round(_FRAMES / int(model.head.num_frames(torch.tensor([_FRAMES]))))


def _dataset(paths: Sequence[Path], loading: Loading) -> SpeechDataset:
    rows, problems = [], []
    for number, path in enumerate(paths):
        try:
            duration_s = audio_info(path, decode=True).duration_s
            rows.append(_ROW | {"id": str(number), "audio": str(path.absolute()), "duration_s": duration_s})
        except AudioError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return loading.dataset(pd.DataFrame(rows), encode=None, resample=True)


def _batches(speech: Speech, loading: Loading) -> Iterator[tuple[list[int], Batch]]:
    """The batches, with the indices of their utterances. Loaded by this process: few files do not pay for others."""
    loader = replace(loading, num_workers=0).inference(speech)
    sampler: Any = loader.batch_sampler
    yield from zip(sampler.batches, loader, strict=True)


def _features(batch: Batch, upstream: Upstream, *, precision: str) -> Features:
    if batch.features is not None:
        return batch.features
    with autocast(batch.wave_BT.device, precision):
        return frozen_features(upstream, batch.wave_BT, batch.lengths_B)
