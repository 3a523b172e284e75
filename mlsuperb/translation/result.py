"""What an adaptation of a translator leaves behind and what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsuperb.config.build import instantiate
from mlsuperb.runs import store
from mlsuperb.runs.decoding import Decoding
from mlsuperb.runs.result import what_ran
from mlsuperb.runs.run import Run
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import describe_device
from mlsuperb.runtime.speed import peak_memory_gb
from mlsuperb.scoring.result import TranslationResult
from mlsuperb.scoring.scored_run import part, standing, what_was_scored
from mlsuperb.scoring.scored_run import show as show_scores
from mlsuperb.training.parameters import count_trained, num_parameters
from mlsuperb.training.progress import Progress
from mlsuperb.translation.data import Data
from mlsuperb.translation.model import TranslationModel


def save_result(
    config: Mapping[str, Any], run: Run, *, model: TranslationModel, data: Data, decoded: Decoding, progress: Progress,
    figures: Mapping[str, float],
) -> None:  # fmt: skip
    """Score the hypotheses and write `result.json`."""
    if not ranks.is_main():
        return
    trained, start = count_trained(model), (config.get("start") or {}).get("run")
    facts = instantiate(config["task"]).facts
    content = {
        **what_ran(config, run.environment, job=TranslationResult.kind, inputs=store.as_inputs({"start": start})),
        **what_was_scored(run.folder, decoded.hypotheses, facts=facts, scoring=instantiate(config["scoring"])),
        "benchmark": None,
        "data": data.record,
        "text": data.text_record,
        "train_on": config["train_on"],
        "upstream": part(config["model"]) | {"loaded": model.translator.record()},
        "adaptation": part(config["adaptation"]) | {"trained": trained},
        "head": {"name": "decoder"},
        "num_trainable": sum(trained.values()),
        "num_total": num_parameters(model.parameters()),
        "scores": dict(figures),
        "training": {**progress.counts, "history": progress.history, "averaged": progress.best},
        "cost": {
            "iterations": progress.iteration,
            "utterances": progress.num_utterances,
            "train_wall_s": round(progress.wall_s, 1),
            "decode_wall_s": round(decoded.speed.total_s, 1),
            "train_rtfx": progress.rtfx,
            "rtfx": decoded.speed.rtfx,
            "peak_memory_gb": round(peak_memory_gb(next(model.parameters()).device), 2),
            "hours": round((progress.wall_s + decoded.speed.total_s) / 3600, 4),
            "device": describe_device(next(model.parameters()).device),
        },
    }
    content |= standing(["an adapted model of speech and text is no run of the benchmark"], content, data.record)
    store.write(run.folder, store.validated(content, TranslationResult, place=f"result of {run.id}"))


def show(folder: Path) -> None:
    """Scores by language, examples, the path."""
    show_scores(folder, kind=TranslationResult)
