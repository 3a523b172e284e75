"""Where the measurements reach into `mlsuperb`: configurations, models, data and trainings, as a run makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mlsuperb.benchmark import build
from mlsuperb.config.build import instantiate
from mlsuperb.config.check import check
from mlsuperb.config.compose import compose
from mlsuperb.data.batching import TrainingBatches
from mlsuperb.runs.run import Run
from mlsuperb.types import Batch

RATE_HZ = 16_000


def model_around(upstream: Any, *overrides: str, vocab_size: int) -> tuple[Any, dict[str, Any]]:
    """The model of a configuration around an upstream that is there, and the configuration."""
    config = compose(["data.root=.", *overrides])
    return build.build_model(config, upstream, vocab_size=vocab_size), config


def top_parts(*overrides: str, num_layers: int, layer_size: int, vocab_size: int) -> tuple[Any, Any, Any, Any]:
    """(featurizer, head, objective, SpecAugment) of a configuration, made in the order in which a run makes them."""
    config = compose(["data.root=.", *overrides])
    featurizer = instantiate(config["featurizer"], num_layers=num_layers, layer_size=layer_size)
    head = instantiate(config["head"], input_size=layer_size)
    objective = instantiate(config["objective"], input_size=head.output_size, vocab_size=vocab_size)
    return featurizer, head, objective, instantiate(config["specaug"])


@contextmanager
def run_of(*overrides: str) -> Iterator[tuple[dict[str, Any], Run, Any, Any]]:
    """(configuration, run, data, recogniser) of a run before its training."""
    config = compose(list(overrides))
    check(config)
    with Run(config) as run:
        run.begin()
        data = build.build_data(config, run=run)
        yield config, run, data, build.build_recogniser(config, vocabulary=data.vocabulary)


def train(config: dict[str, Any], run: Run, data: Any, recogniser: Any) -> None:
    """The training of a run, with its feature cache."""
    with build.features_kept(config, recogniser, data.train, data.dev) as (speech, dev):
        build.train(config, recogniser, train=speech, dev=dev, run=run)


def training_plan(config: dict[str, Any], speech: Any, *, num: int) -> list[list[int]]:
    """The first batches of a training on `speech`."""
    batching = instantiate(config["loading"]["train"])
    plan = iter(TrainingBatches(speech.durations_s, batching=batching, seed=config["seed"], start=0))
    return [[draw.index for draw in next(plan)] for _ in range(num)]


def batch_of(waves: Sequence[Tensor], targets: Sequence[Tensor]) -> Batch:
    """A batch of given waves and token indices."""
    return Batch(
        ids=tuple(map(str, range(len(waves)))),
        languages=("eng",) * len(waves),
        wave_BT=pad_sequence(list(waves), batch_first=True),
        lengths_B=torch.tensor([len(wave_T) for wave_T in waves]),
        targets_BS=pad_sequence(list(targets), batch_first=True),
        target_lengths_B=torch.tensor([len(target_S) for target_S in targets]),
    )
