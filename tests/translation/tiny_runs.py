"""Runs of job=translation that take seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from mlsuperb.config.compose import compose
from mlsuperb.run import run_experiment

SMALL = (
    "trainer.device=cpu", "trainer.iterations_per_epoch=4", "trainer.max_epochs=2", "trainer.accumulate=1", "trainer.trackers=[]",
    "trainer.checkpoint_every=3", "search.max_tokens=4", "search.num_beams=2", "loading.train.max_batch_s=6", "data.few_shot=all",
)  # fmt: skip


def words_of(checkpoint: Path, tree: Path, out: Path, *more: str, experiment: str = "job=translation") -> list[str]:
    """Settings of a run on a tree in the layout of ML-SUPERB."""
    data = [f"model.checkpoint={checkpoint}", "data=ml_superb_10min", f"data.root={tree}", f"output_root={out}"]
    return [experiment, *data, *SMALL, *more]


def run(overrides: Sequence[str]) -> Path:
    """The folder of the run, finished."""
    config = compose(list(overrides))
    run_experiment(config)
    return Path(config["output_root"]) / config["run_id"]


def trained(folder: Path) -> dict[str, torch.Tensor]:
    """What a run saved."""
    return load_file(folder / "model.safetensors")
