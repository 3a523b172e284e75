"""`mlsuperb largest_batch OVERRIDES`: how many seconds of audio a batch of `python -m mlsuperb.run OVERRIDES` may hold.

Trains the real model on the longest utterances of the corpus, in batches of growing size, and measures time and memory. It stops
before the memory is full, of which a tenth stays free, or where larger batches are no faster, and prints the setting to use.
Nothing is kept. An upstream whose features come from the cache in training is computed here.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlsuperb.config.options import check_overrides

if TYPE_CHECKING:
    import torch

    from mlsuperb.benchmark.recogniser import Recogniser
    from mlsuperb.training.memory import Measured
    from mlsuperb.training.trainer import Trainer
    from mlsuperb.types import Batch

KEPT_FREE = 0.1  # of the memory: fragments, other lengths, the steps that were not measured
NOTHING_FITS = (
    "set adaptation.gradient_checkpointing=true, trainer.precision=bf16 on a GPU, or choose a smaller upstream or head"
)


def largest_batch(config: Mapping[str, Any], *, show: Callable[[str], None] = print) -> float:
    """Measure, `show` a table, and return the setting to use: padded seconds of a batch.

    Raises:
        ValueError: the configuration cannot run, or not even one utterance fits.
    """
    from mlsuperb.benchmark import build
    from mlsuperb.config.check import check
    from mlsuperb.runs.run import Run
    from mlsuperb.runtime.device import describe_device
    from mlsuperb.runtime.speed import peak_memory_gb
    from mlsuperb.training.memory import find_largest, free_gb

    check(config)
    with tempfile.TemporaryDirectory() as folder, Run({**config, "output_root": folder}) as run:
        run.folder.mkdir(parents=True, exist_ok=True)
        data = build.build_data(config, run=run)
        recogniser = build.build_recogniser(config, vocabulary=data.vocabulary)
    longest = (-data.train.durations_s).argsort()

    def batch(num: int) -> Batch:
        indices = [int(longest[index % len(longest)]) for index in range(num)]
        return data.train.collate([data.train[index] for index in indices])

    device, start_gb = recogniser.device, peak_memory_gb(recogniser.device)
    limit_gb = (start_gb + free_gb(device)) * (1 - KEPT_FREE)
    show(
        f"{describe_device(device)}, {recogniser.precision}: up to {limit_gb:.1f} GB, of which the model takes {start_gb:.1f}"
    )
    show("padded s  utterances  s a step  audio s/s  peak, GB")
    measure = _measurement(build.instantiate(config["trainer"]), recogniser, batch, show=show)
    found, fits_s = find_largest(measure, start_gb=start_gb, limit_gb=limit_gb, advice=NOTHING_FITS)
    best = max(found, key=lambda one: one.rate)
    enough = next(one for one in found if one.rate * 1.03 >= best.rate)
    show(
        f"fits: {fits_s:,.0f} s, measured up to {found[-1].padded_s:,.0f} s\n"
        f"use: loading=bucketed loading.train.max_batch_s={enough.padded_s:.0f}, from where on larger batches are less than "
        "3 % faster"
    )
    return enough.padded_s


def _measurement(
    trainer: Trainer, recogniser: Recogniser, batch: Callable[[int], Batch], *, show: Callable[[str], None]
) -> Callable[[int], Measured]:
    """What measures a batch of so many utterances: a step to get warm, another one timed."""
    import torch

    from mlsuperb.data.audio import RATE_HZ
    from mlsuperb.runtime.device import autocast
    from mlsuperb.runtime.speed import peak_memory_gb
    from mlsuperb.training.memory import Measured
    from mlsuperb.training.parameters import parameter_groups
    from mlsuperb.training.trainable import compile_blocks

    model, device = recogniser.model.train(), recogniser.device
    if trainer.compile:
        compile_blocks(model.blocks())
    optimizer = trainer.optimizer(parameter_groups(dict(model.trained()), trainer.learning_rates))

    def step(moved: Batch) -> None:
        with autocast(device, recogniser.precision):
            loss = model(moved).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def measure(num: int) -> Measured:
        moved = batch(num).to(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        step(moved)
        _wait(device)
        start_s = time.perf_counter()
        step(moved)
        _wait(device)
        padded_s = moved.wave_BT.numel() / RATE_HZ
        found = Measured(
            num_utterances=num, padded_s=padded_s, step_s=time.perf_counter() - start_s, peak_gb=peak_memory_gb(device)
        )
        show(f"{padded_s:8.1f}  {num:10d}  {found.step_s:8.2f}  {found.rate:9.1f}  {found.peak_gb:8.2f}")
        return found

    return measure


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line. Arguments are those of mlsuperb.run."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or {"-h", "--help"} & set(given):
        sys.exit(__doc__)
    if messages := check_overrides(given):
        sys.exit("\n".join(messages))
    from mlsuperb.config.compose import compose

    try:
        largest_batch(compose(given))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
