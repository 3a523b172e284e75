"""What a run leaves behind: result.json and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsuperb.benchmark.card import write_card
from mlsuperb.benchmark.macs import macs_per_second
from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.benchmark.published import against_official, describe
from mlsuperb.config.build import instantiate
from mlsuperb.runs import store
from mlsuperb.runs.decoding import Decoding
from mlsuperb.runs.result import what_ran
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import describe_device
from mlsuperb.runtime.messages import reported
from mlsuperb.runtime.speed import Speed
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.scoring.scored_run import part, standing, what_was_scored
from mlsuperb.training.parameters import count_trained, num_parameters
from mlsuperb.training.progress import Progress


def save_result(
    config: Mapping[str, Any],
    folder: Path,
    *,
    record: Mapping[str, Any],
    model: SpeechModel,
    decoded: Decoding,
    progress: Progress,
    environment: Mapping[str, Any],
) -> None:
    """Score hypotheses, write `result.json` beside them, and the model card; a card that cannot be written is reported.

    Args:
        record: of the data they were decoded from (`mlsuperb.benchmark.build.read_data`).
        decoded: hypotheses and speed.
        progress: of the training.
        environment: of the process that decoded.
    """
    if not ranks.is_main():
        return
    benchmark = describe(config, conventions=_conventions(model), packages=environment["packages"])
    content = {
        **what_ran(config, environment, job=BenchmarkResult.kind),
        **what_was_scored(
            folder, decoded.hypotheses, facts=instantiate(config["task"]).facts, scoring=instantiate(config["scoring"])
        ),
        **what_was_trained(config, model),
        "benchmark": benchmark,
        "data": record,
        "training": {**progress.counts, "history": progress.history, "averaged": progress.best},
        "cost": _cost(progress, decoded.speed, model),
    }
    content |= standing(
        against_official(benchmark, record.get("release"), synthetic=record["synthetic"]), content, record
    )
    store.write(folder, store.validated(content, BenchmarkResult, place=f"result of {config['run_id']}"))
    save_card(folder)


def what_was_trained(config: Mapping[str, Any], model: SpeechModel) -> dict[str, Any]:
    """The parts of the model, and how large they are."""
    trained, weights = count_trained(model), model.featurizer.weights
    return {
        "upstream": part(config["upstream"]) | {"loaded": model.upstream.record(), "conventions": _conventions(model)},
        "adaptation": part(config["adaptation"]) | {"trained": trained},  # by part of the model
        "head": part(config["head"]),
        "featurizer": {
            "name": config["featurizer"]["name"],
            "num_layers": model.upstream.num_layers,
            "layer_weights": None if weights is None else weights.tolist(),
        },
        "num_trainable": sum(trained.values()),
        "num_total": num_parameters(model.parameters()),
    }


def _conventions(model: SpeechModel) -> str | None:
    """Under which the upstream is run; None for one that has none, such as log-mels."""
    found: str | None = getattr(model.upstream, "conventions", None)
    return found


def _cost(progress: Progress, decoding: Speed, model: SpeechModel) -> dict[str, Any]:
    device = next(model.parameters()).device
    peak_gb = progress.peak_gb(device)  # before multiply-accumulates are counted, which takes some, too
    return {
        "iterations": progress.iteration,
        "utterances": progress.num_utterances,
        "train_wall_s": round(progress.wall_s, 1),
        "decode_wall_s": round(decoding.total_s, 1),
        "train_rtfx": progress.rtfx,
        "rtfx": decoding.rtfx,
        "cached_share": decoding.cached_share,
        "peak_memory_gb": round(peak_gb, 2),
        "hours": round((progress.wall_s + decoding.total_s) / 3600, 4),  # of training and decoding
        "macs_per_s": macs_per_second(model),
        "device": describe_device(device),
    }


def save_card(folder: Path) -> None:
    """Write the model card of a result. Where that fails the run has ended all the same: it is reported, and
    `mlsuperb export card` writes the card another time."""
    with reported("no model card"):
        write_card(folder)
