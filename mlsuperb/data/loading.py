"""How batches reach the model: their make-up, worker processes, what is kept in memory."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch.utils.data import DataLoader, Sampler

from mlsuperb.data.batching import Batching, BucketedBatches, DealtBatches, InferenceBatches, TrainingBatches
from mlsuperb.data.dataset import Examples, SpeechDataset
from mlsuperb.data.sampling import Crops, SamplingLaw, Temperature
from mlsuperb.data.windows import ShardWindows
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import device_in_use
from mlsuperb.types import Utterance

WORKERS = 4  # processes for a run on a GPU


class Loader(DataLoader[Any]):
    """A loader whose worker processes report a user's mistake as the one paragraph it is: torch puts their traceback
    before it."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        try:
            yield from map(self.dataset.finish, super().__iter__())  # type: ignore[attr-defined]
        except ValueError as error:
            raise ValueError(re.split(r"\n[\w.]*Error: ", str(error))[-1].rstrip()) from error


@dataclass(kw_only=True)
class Loading:
    """Settings of data loading.

    Args:
        train: how the training set is cut into batches.
        language_temperature: 1 trains on the corpus as it is; more lets small languages be seen more often and large ones
            less: the same as `sampling` by `Temperature`.
        sampling: another law of how often each example is seen (`+loading/sampling=two_level`); None: the corpus as it is.
        crops: train on parts of the utterances, cut anew in each pass (`+loading/crops=random`); None: on all of each.
        window_h: of speech in shards, hours of audio that are read in sequence at a time, batches being made up within them
            (`+loading.window_h=200`); None: batches are made up of the whole corpus, and each utterance is read where it lies.
        eval_batch_s: padded seconds of audio in a batch of validation or decoding, at most.
        num_workers: processes that decode audio; `auto` is 4 for a run on a GPU and none on a CPU, which is busy training.
        keep_audio_gb: decoded waves of a set (train, dev, test) are kept in memory up to this size in GiB, shared out among the
            workers; where a cache has the features, no wave is kept.
    """

    not_science: ClassVar = ("num_workers", "keep_audio_gb")

    train: Batching
    language_temperature: Annotated[float, Field(ge=1)] = 1.0
    sampling: SamplingLaw | None = None
    crops: Crops | None = None
    window_h: PositiveFloat | None = None
    eval_batch_s: PositiveFloat = 200.0
    num_workers: NonNegativeInt | Literal["auto"] = "auto"
    keep_audio_gb: NonNegativeFloat = 2.0

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        """What is wrong with the settings, a full sentence each."""
        if settings.get("sampling") is None or settings.get("language_temperature", 1) == 1:
            return []
        return [
            f"loading.language_temperature={settings['language_temperature']} and loading.sampling are both set, and each says "
            "how often a language is seen. Leave one of them out."
        ]

    def one_by_one(self) -> Loading:
        """The same for training batches of one whole utterance each, of the corpus as it is."""
        single = BucketedBatches(max_batch_s=self.eval_batch_s, max_batch_size=1)
        return replace(self, train=single, language_temperature=1.0, sampling=None, crops=None, window_h=None)

    def _workers(self) -> int:
        if self.num_workers == "auto":
            return WORKERS if _on_gpu() else 0
        return self.num_workers

    @property
    def kept_gb(self) -> float:
        """Decoded waves that each worker keeps, at most. Asked before a device is chosen."""
        workers = self.num_workers
        if workers == "auto":
            workers = WORKERS if torch.cuda.is_available() else 0
        return self.keep_audio_gb / max(1, workers)

    def dataset(
        self, manifest: pd.DataFrame, *, encode: Callable[[Utterance], np.ndarray] | None, resample: bool
    ) -> SpeechDataset:
        """The rows of `manifest` as waves and targets."""
        return SpeechDataset(manifest, encode=encode, resample=resample, keep_gb=self.kept_gb)

    def training(self, dataset: Examples, *, seed: int) -> Callable[[int], Iterator[Any]]:
        """Endless training batches, from a given iteration on; of each what this rank computes (`deal`)."""
        amounts, law = dataset.amounts, self.sampling
        if self.language_temperature > 1:
            law = Temperature(temperature=self.language_temperature)
        repeats = None
        if law is not None:
            repeats = law.repeats(amounts, languages=dataset.languages, datasets=dataset.datasets)

        windows = None if self.window_h is None else self._windows(dataset, hours=self.window_h)

        def batches(start: int) -> Iterator[Any]:
            sampler = TrainingBatches(
                amounts, batching=self.train, seed=seed, start=start, repeats=repeats, crops=self.crops, windows=windows
            )
            dealt = DealtBatches(sampler, amounts, rank=ranks.rank(), world=ranks.world())
            return (replace(batch, share=dealt.shares.popleft()) for batch in self._loader(dataset, dealt))

        return batches

    def _windows(self, dataset: Examples, *, hours: float) -> ShardWindows:
        if not isinstance(dataset, SpeechDataset):
            raise ValueError(
                "loading.window_h is for training on speech in shards, without a cache of features: leave it out"
            )
        return ShardWindows(*dataset.shards(), dataset.durations_s, hours=hours, read=ranks.local_rank() == 0)

    def inference(self, dataset: Examples) -> Loader:
        """Every example once, in batches of similar length."""
        return self._loader(dataset, InferenceBatches(dataset.amounts, max_batch_s=self.eval_batch_s))

    def _loader(self, dataset: Examples, sampler: Sampler[Any]) -> Loader:
        return Loader(
            dataset,  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=dataset.collate,
            num_workers=self._workers(),
            pin_memory=_on_gpu(),
            worker_init_fn=_leave_signals_to_main,
            generator=torch.Generator(),  # its own: a loader must not draw from the global one, which a resume restores
        )


def _on_gpu() -> bool:
    """Whether this process computes on a GPU, not whether the machine has one: pinned memory takes some of a GPU's, too."""
    return device_in_use().type == "cuda"


def _leave_signals_to_main(_: int) -> None:
    """A queue's notice of its time limit reaches every process of a job; a worker must not answer it for the run."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
