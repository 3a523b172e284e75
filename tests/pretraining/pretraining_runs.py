"""Runs of labels and of pre-training on a corpus of seconds, in this process or killed in one of its own.

python tests/pretraining/pretraining_runs.py MOMENT OVERRIDE...     (die at MOMENT, or without chance)
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import run_processes
import soundfile

SMALL = (
    "upstream.num_blocks=2", "upstream.hidden_size=32", "upstream.num_heads=2", "upstream.ffn_size=64",
    "upstream.conv_channels=[16,16,16,16,16,16,16]", "upstream.position_kernel=16", "upstream.position_groups=2",
    "prediction.final_size=16", "trainer.device=cpu", "trainer.precision=fp32", "trainer.iterations_per_epoch=4",
    "trainer.max_epochs=2", "trainer.checkpoint_every=3", "trainer.trackers=[]", "loading.train.max_batch_s=8",
)  # fmt: skip


def speech_tree(root: Path, *, num: int = 6, seconds: float = 2.5) -> Path:
    """Two languages of two datasets, noises of different colour: an ML-SUPERB tree without transcripts."""
    rng = np.random.default_rng(0)
    for dataset, language in (("a", "deu"), ("a", "swa"), ("b", "deu")):
        folder = root / dataset / language
        (folder / "wav").mkdir(parents=True)
        lines = []
        for number in range(num):
            name, length = f"{dataset}_{language}_{number}", int(16000 * (seconds + 0.3 * number))
            wave = np.convolve(rng.standard_normal(length), rng.standard_normal(8), "same")
            soundfile.write(folder / "wav" / f"{name}.wav", 0.1 * wave / np.abs(wave).max(), 16000)
            lines.append(f"{name}\tx\tnothing")
        for split, part in (("train", lines[:-2]), ("dev", lines[-2:-1]), ("test", lines[-1:])):
            (folder / f"transcript_10min_{split}.txt").write_text("\n".join(part) + "\n")
    return root


def labels_of(tree: Path, out: Path, *more: str) -> list[str]:
    """The overrides of a run of labels."""
    return [
        "job=labels", "data=ml_superb_10min", f"data.root={tree}", "clustering.num_units=8", "data.few_shot=all",
        f"output_root={out}", "extraction.device=cpu", *more,
    ]  # fmt: skip


def pretraining_of(labels: Path, out: Path, *more: str) -> list[str]:
    """The overrides of a pre-training."""
    return ["job=pretrain", f"targets.run={labels}", f"output_root={out}", *SMALL, *more]


def run(overrides: list[str]) -> Path:
    """Run in this process; returns the run's folder."""
    from mlsuperb.config.compose import compose
    from mlsuperb.run import run_experiment

    config = compose(overrides)
    run_experiment(config)
    return Path(config["output_root"]) / config["run_id"]


def killed(moment: str, overrides: list[str]) -> int:
    """Run in a process that dies at `moment`; returns its exit status."""
    return run_processes.status_of(__file__, moment, *overrides)


def on_two_ranks(overrides: list[str], *, moment: str = "never") -> None:
    """Run in two processes; `moment`: see `main`."""
    run_processes.on_two_ranks(__file__, moment, *overrides)


@contextmanager
def without_chance() -> Iterator[None]:
    """Inside, masks depend on the utterance alone and nothing is dropped, so that any number of ranks computes the same."""
    from mlsuperb.pretraining.masking import SpanMasking

    plain = SpanMasking.draw

    def every_other_span(_: SpanMasking, frames_B: Sequence[int], *, rng: np.random.Generator) -> np.ndarray:
        places_F = np.arange(max(frames_B))
        return (places_F // 10 % 2 == 1) & (places_F < np.array(frames_B)[:, None])

    SpanMasking.draw = every_other_span  # type: ignore[method-assign]
    try:
        with run_processes.without_dropout():
            yield
    finally:
        SpanMasking.draw = plain  # type: ignore[method-assign]


def _dies(function: Callable[..., Any], calls: int) -> Callable[..., Any]:
    left = calls

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    return counted


def main(moment: str, overrides: list[str]) -> None:
    """Run and die, or run `without_chance` if that is the moment."""
    import torch

    from mlsuperb.training.checkpoint import CheckpointFolder
    from mlsuperb.units.codebook import Codebook
    from mlsuperb.units.labels import LabelFolder

    moments: dict[str, tuple[Any, str, int]] = {
        "fit": (Codebook, "save", 1),
        "shard": (LabelFolder, "write", 3),
        "step": (torch.optim.AdamW, "step", 6),
        "checkpoint": (CheckpointFolder, "save", 3),
    }
    if moment in moments:
        owner, name, calls = moments[moment]
        setattr(owner, name, _dies(getattr(owner, name), calls))
    with without_chance() if moment == "without chance" else nullcontext():
        run(overrides)
    run_processes.check_parted()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
