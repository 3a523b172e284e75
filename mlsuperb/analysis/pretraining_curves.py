"""Curves of pre-training: by epoch from the results, by update from what was logged while it ran."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlsuperb.analysis.chart import Chart
from mlsuperb.analysis.curves import curves, training_curves
from mlsuperb.pretraining.records import PretrainingResult
from mlsuperb.units.usage import BIT

CURVES = "curves"  # in a run's folder
MOST_POINTS = 400  # of a line
LOSS = "loss, bits per masked frame"
EPOCH_NOTE = "Dashed: mean over the updates of the epoch, with whatever dropout and layer drop was set."
UPDATE_NOTE = (
    f"A line has at most {MOST_POINTS} points: means of what was logged in a row, of the gradient norm (before clipping) the "
    "largest."
)
_ACCURACIES = [f"{part}_{frames}_accuracy" for frames in ("masked", "unmasked") for part in ("train", "valid")]
# Figure of the history -> curve; the loss that is trained on has further terms, which the validation has not
_FIGURES = {
    "train_prediction_loss": "train_loss", "valid_loss": "valid_loss", **{name: name for name in _ACCURACIES},
    "valid_code_perplexity": "valid_code_perplexity",
}  # fmt: skip
# Tag of TensorBoard -> curve, and which of several neighbouring values is drawn
_LOGGED = {
    "train/prediction_loss": ("train_loss", "mean"),
    "train/gradient_norm": ("gradient_norm", "max"),
    "train/lr": ("learning_rate", "mean"),
}


def by_epoch(results: Mapping[str, PretrainingResult]) -> list[Chart]:
    """Losses in bits, accuracies and code perplexity, all runs (name -> result) in one figure of each."""
    histories = {name: [_in_bits(entry) for entry in one.training["history"]] for name, one in results.items()}
    return training_curves(histories, loss=LOSS, note=EPOCH_NOTE)


def _in_bits(entry: Mapping[str, Any]) -> dict[str, float]:
    found = {to: entry[name] / (BIT if to.endswith("loss") else 1) for name, to in _FIGURES.items() if name in entry}
    return {"epoch": entry["epoch"], **found}


def by_update(runs: Mapping[str, tuple[Path, PretrainingResult]]) -> list[Chart]:
    """Losses in bits, gradient norm and learning rate, all runs (name -> folder and result) in one figure of each; where a folder
    has no logs, only the loss of its validations."""
    points = [_validations(result).assign(run=name) for name, (_, result) in runs.items()]
    points += [logged(*run).assign(run=name) for name, run in runs.items()]
    return curves(pd.concat(points, ignore_index=True), by="update", loss=LOSS, note=UPDATE_NOTE)


def _validations(result: PretrainingResult) -> pd.DataFrame:
    trainer = result.config["trainer"]
    per_epoch = trainer["iterations_per_epoch"] / trainer["accumulate"]
    points = [(entry["epoch"] * per_epoch, entry["valid_loss"] / BIT) for entry in result.training["history"]]
    return pd.DataFrame(points, columns=["update", "value"]).assign(measure="valid_loss")


def has_logs(folder: Path) -> bool:
    """Whether a run's folder has files of TensorBoard."""
    return any((folder / CURVES).glob("events.out.tfevents.*"))


def logged(folder: Path, result: PretrainingResult) -> pd.DataFrame:
    """What TensorBoard's files in a run's folder hold: a row for each point, with `update`, `value` and `measure`; no row where
    there are no files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    parts = [pd.DataFrame({"update": [], "value": [], "measure": []})]
    if not has_logs(folder):
        return parts[0]
    events = EventAccumulator(str(folder / CURVES), size_guidance={"scalars": 0}).Reload()  # 0: all of them
    for tag in events.Tags()["scalars"]:
        if tag in _LOGGED:
            measure, drawn = _LOGGED[tag]
            points = pd.DataFrame([(one.step, one.value) for one in events.Scalars(tag)], columns=["update", "value"])
            points["update"] /= result.config["trainer"]["accumulate"]
            points["value"] /= BIT if measure == "train_loss" else 1
            group_N = np.arange(len(points)) // -(-len(points) // MOST_POINTS)
            parts.append(points.groupby(group_N).agg({"update": "mean", "value": drawn}).assign(measure=measure))
    return pd.concat(parts[1:] or parts)
