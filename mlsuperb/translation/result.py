"""What an adaptation of a translator leaves behind and what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mlsuperb.benchmark.result import part, standing, what_was_scored
from mlsuperb.benchmark.result import show as show_scores
from mlsuperb.runs import store
from mlsuperb.runs.decoding import Decoding
from mlsuperb.runs.result import what_ran
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import describe_device
from mlsuperb.runtime.speed import peak_memory_gb
from mlsuperb.scoring.result import TranslationResult
from mlsuperb.training.parameters import count_trained, num_parameters
from mlsuperb.training.progress import Progress
from mlsuperb.translation.data import Data
from mlsuperb.translation.model import TranslationModel


def save_result(
    config: Mapping[str, Any], folder: Path, *, model: TranslationModel, data: Data, decoded: Decoding, progress: Progress,
    figures: Mapping[str, float], environment: Mapping[str, Any], language: str | None = None,
) -> None:  # fmt: skip
    """Score the hypotheses and write `result.json`.

    Args:
        figures: of the validation examples.
        environment: of the process that decoded.
        language: that all was written in, whatever the data named.
    """
    if not ranks.is_main():
        return
    trained, start = count_trained(model), (config.get("start") or {}).get("run")
    inputs = store.as_inputs({"start": start})
    content = {
        **what_ran(config, environment, job=TranslationResult.kind, inputs=inputs),
        **what_was_scored(config, folder, decoded.hypotheses),
        "benchmark": None,
        "data": data.record,
        "text": data.text_record,
        "train_on": config["train_on"],
        "language": language,
        "upstream": part(config["model"]) | {"loaded": model.translator.record()},
        "adaptation": part(config["adaptation"]) | {"trained": trained},
        "head": {"name": "decoder"},
        "num_trainable": sum(trained.values()),
        "num_total": num_parameters(model.parameters()),
        "scores": dict(figures),
        "training": {**progress.counts, "history": progress.history, "averaged": progress.best},
        "cost": _cost(progress, decoded, next(model.parameters()).device),
    }
    content |= standing(["an adapted model of speech and text is no run of the benchmark"], content, data.record)
    store.write(folder, store.validated(content, TranslationResult, place=f"result of {config['run_id']}"))


def _cost(progress: Progress, decoded: Decoding, device: torch.device) -> dict[str, Any]:
    return {
        "iterations": progress.iteration,
        "utterances": progress.num_utterances,
        "train_wall_s": round(progress.wall_s, 1),
        "decode_wall_s": round(decoded.speed.total_s, 1),
        "train_rtfx": progress.rtfx,
        "rtfx": decoded.speed.rtfx,
        "peak_memory_gb": round(peak_memory_gb(device), 2),
        "hours": round((progress.wall_s + decoded.speed.total_s) / 3600, 4),
        "device": describe_device(device),
    }


def show(folder: Path) -> None:
    """Scores by language, examples, the path."""
    show_scores(folder, kind=TranslationResult)
