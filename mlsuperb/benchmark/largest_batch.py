"""How large a batch of a configuration may be: its real model, trained on the longest utterances of its corpus."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from mlsuperb.benchmark import build
from mlsuperb.benchmark.job import Benchmark
from mlsuperb.benchmark.recogniser import Recogniser
from mlsuperb.config.check import check, job_class
from mlsuperb.runs.run import Run
from mlsuperb.runtime.device import autocast, describe_device
from mlsuperb.runtime.speed import free_gb, peak_memory_gb
from mlsuperb.training.memory import PAYS, Measured, find_largest
from mlsuperb.training.parameters import parameter_groups
from mlsuperb.training.trainable import compile_blocks
from mlsuperb.training.trainer import Trainer
from mlsuperb.types import SAMPLE_RATE_HZ, Batch

KEPT_FREE = 0.1  # of the memory: fragments, other lengths, the steps that were not measured
NOTHING_FITS = (
    "set adaptation.gradient_checkpointing=true, trainer.precision=bf16 on a GPU, or choose a smaller upstream or head"
)


def largest_batch(config: Mapping[str, Any], *, show: Callable[[str], None]) -> float:
    """Measure, `show` a table line by line, and return the setting to use: padded seconds of a batch.

    Raises:
        ValueError: the configuration is of another job or cannot run, or not even one utterance fits.
    """
    if not issubclass(job_class(config), Benchmark):
        raise ValueError(
            f"largest_batch measures models of job=benchmark, and job={config['job'].get('name')} trains another: lower "
            "loading.train.max_batch_s there until a short run fits"
        )
    check(config)
    with tempfile.TemporaryDirectory() as folder, Run({**config, "output_root": folder}) as run:
        data = build.build_data(config, run=run)
        recogniser = build.build_recogniser(config, vocabulary=data.vocabulary, languages=data.languages)
    longest = (-data.train.durations_s).argsort()
    device, start_gb = recogniser.device, peak_memory_gb(recogniser.device)
    limit_gb = (start_gb + free_gb(device)) * (1 - KEPT_FREE)
    show(
        f"{describe_device(device)}, {recogniser.precision}: up to {limit_gb:.1f} GB, of which the model takes {start_gb:.1f}"
    )
    show("padded s  utterances  s/step  audio s/s  peak, GB")
    step = _step(build.instantiate(config["trainer"]), recogniser)

    def measure(num: int) -> Measured:
        indices = [int(longest[index % len(longest)]) for index in range(num)]
        found = measured(step, data.train.collate([data.train[index] for index in indices]).to(device))
        show(f"{found.padded_s:8.1f}  {num:10d}  {found.step_s:6.2f}  {found.rate:9.1f}  {found.peak_gb:8.2f}")
        return found

    found, fits_s = find_largest(measure, start_gb=start_gb, limit_gb=limit_gb, advice=NOTHING_FITS)
    best = max(one.rate for one in found)
    enough = next(one for one in found if one.rate * PAYS >= best)
    show(
        f"fits: {fits_s:,.0f} s, measured up to {found[-1].padded_s:,.0f} s\n"
        f"use: loading=bucketed loading.train.max_batch_s={enough.padded_s:.0f}; larger batches are less than "
        f"{100 * (PAYS - 1):.0f} % faster"
    )
    return enough.padded_s


def _step(trainer: Trainer, recogniser: Recogniser) -> Callable[[Batch], None]:
    """One training step on a batch."""
    model = recogniser.model.train()
    if trainer.compile:
        compile_blocks(model.blocks())
    optimizer = trainer.optimizer(parameter_groups(dict(model.trained()), trainer.learning_rates))

    def step(batch: Batch) -> None:
        with autocast(recogniser.device, recogniser.precision):
            loss = model(batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def measured(step: Callable[[Batch], None], batch: Batch) -> Measured:
    """Time and memory of the second of two steps on a batch; the first warms up."""
    device = batch.wave_BT.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(2):
        start_s = time.perf_counter()
        step(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        step_s = time.perf_counter() - start_s
    return Measured(
        num_utterances=len(batch.ids),
        padded_s=batch.wave_BT.numel() / SAMPLE_RATE_HZ,
        step_s=step_s,
        peak_gb=peak_memory_gb(device),
    )
