"""Where the measurements reach into `mlsuperb`: configurations, models, data and trainings, as a run makes them."""

from __future__ import annotations

from argparse import Namespace
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
from mlsuperb.runtime.device import autocast
from mlsuperb.training.parameters import count_trained
from mlsuperb.types import Batch
from scripts.bench import harness

RATE_HZ, WARM_UP = 16_000, 2


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
        yield config, run, data, build.build_recogniser(config, vocabulary=data.vocabulary, languages=data.languages)


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


def step_figures(model: Any, batch: Any, settings: Namespace, device: torch.device) -> dict[str, Any]:
    """Seconds of a training step with Adam (median of `settings.steps` after two), peak memory, trained parameters."""
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=1e-4)

    def step() -> None:
        with autocast(device, settings.precision):
            loss = model(batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    steps_s = [harness.seconds(step, device=device)[0] for _ in range(WARM_UP + settings.steps)]
    trained_m = sum(count_trained(model).values()) / 1e6
    figures = {"step_s": harness.median(steps_s[WARM_UP:]), "peak_gb": harness.peak_gb(device), "trained_m": trained_m}
    return figures | {"machine": harness.machine(device)}
