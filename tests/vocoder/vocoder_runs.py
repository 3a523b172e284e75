"""Runs of labels and of vocoders on a corpus of seconds, in this process or killed in one of its own.

python tests/vocoder/vocoder_runs.py killed OVERRIDE...     (dies in the fifth step of an optimiser, in the second epoch)
python tests/vocoder/vocoder_runs.py undropped OVERRIDE...  (without dropout)
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import run_processes
import soundfile
import torch

from mlsuperb.vocoder.generator import Shape, UnitVocoder

SMALL = (
    "vocoder=unit_hifigan_tiny", "vocoder.unit_size=8", "vocoder.speaker_size=4", "vocoder.language_size=4",
    "vocoder.initial_channels=32", "trainer.device=cpu", "trainer.iterations_per_epoch=2", "trainer.max_epochs=2",
    "trainer.checkpoint_every=1", "trainer.trackers=[]", "loading.train.max_batch_size=2",
)  # fmt: skip


def corpus(root: Path, *, speakers: bool = True) -> list[str]:
    """Overrides of a corpus of two speakers of two languages, noises of different colour."""
    rng, rows = np.random.default_rng(0), []
    for number in range(10):
        wave = np.convolve(rng.standard_normal(11000 + 777 * number), rng.standard_normal(8), "same")
        soundfile.write(root / f"{number}.wav", 0.1 * wave / np.abs(wave).max(), 16000)
        row = {"id": f"u{number}", "audio": f"{number}.wav", "text": "", "language": ("deu", "swa")[number % 2]}
        rows.append(row | {"speaker": f"s{number % 2}" if speakers else ""})
    pd.DataFrame(rows[:-3]).to_csv(root / "train.csv", index=False)
    pd.DataFrame(rows[-3:]).to_csv(root / "dev.csv", index=False)
    return ["data=table", "+data.text=optional", f"data.train={root}/train.csv", f"data.dev={root}/dev.csv"]


def labels_of(data: list[str], out: Path, *more: str) -> list[str]:
    """The overrides of a run of labels at 50 Hz."""
    given = ["job=labels", "upstream=fbank", "clustering.num_units=6", "extraction.device=cpu"]
    return [*given, *data, f"output_root={out}", *more]


def vocoder_of(labels: Path, out: Path, *more: str) -> list[str]:
    """The overrides of a vocoder."""
    return ["job=vocoder", f"targets.run={labels}", f"output_root={out}", *SMALL, *more]


def run(overrides: list[str]) -> Path:
    """Run in this process; returns the run's folder."""
    from mlsuperb.config.compose import compose
    from mlsuperb.run import run_experiment

    config = compose(overrides)
    run_experiment(config)
    return Path(config["output_root"]) / config["run_id"]


def killed(overrides: list[str]) -> int:
    """Run in a process that dies; returns its exit status."""
    return run_processes.status_of(__file__, "killed", *overrides)


def on_two_ranks(overrides: list[str]) -> None:
    """Run in two processes, without dropout."""
    run_processes.on_two_ranks(__file__, "undropped", *overrides)


def small_shape(**changes: Any) -> Shape:
    """Of a vocoder that a test can afford: two steps, 6 samples of a unit."""
    given: dict[str, Any] = {
        "num_units": 7, "unit_size": 6, "num_speakers": 3, "speaker_size": 4, "num_languages": 2, "language_size": 2,
        "initial_channels": 8, "upsample_rates": (3, 2), "upsample_kernels": (7, 4), "block_kernels": (3, 5),
        "block_dilations": ((1, 3), (1, 2)), "duration_kernel": 3, "duration_dropout": 0.5,
    }  # fmt: skip
    return Shape(**given | changes)


def loud(vocoder: UnitVocoder) -> UnitVocoder:
    """With weights that make a wave of some size, so that comparisons say something."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in vocoder.parameters():
            scale = (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.3
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return vocoder.eval()


def _die_in_the_fifth_step() -> None:
    step, left = torch.optim.AdamW.step, 5

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **named)

    torch.optim.AdamW.step = counted  # type: ignore[method-assign]


def main(way: str, overrides: list[str]) -> None:
    """Run and die, or run without dropout."""
    if way == "killed":
        _die_in_the_fifth_step()
    with run_processes.without_dropout() if way == "undropped" else nullcontext():
        run(overrides)
    run_processes.check_parted()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
