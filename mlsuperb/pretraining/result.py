"""What a pre-training leaves behind and what it shows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsuperb.adaptation.lora import merge
from mlsuperb.pretraining.build import Parts, validate
from mlsuperb.pretraining.card import write_card
from mlsuperb.pretraining.folder import save_pretrained
from mlsuperb.pretraining.records import PretrainingResult
from mlsuperb.pretraining.validation import Counts
from mlsuperb.runs import store
from mlsuperb.runs.result import what_ran
from mlsuperb.runs.run import Run
from mlsuperb.runtime import ranks
from mlsuperb.runtime.messages import reported
from mlsuperb.scoring.fitted import shown
from mlsuperb.training.parameters import count_trained, num_parameters
from mlsuperb.training.progress import Progress
from mlsuperb.units.usage import BIT
from mlsuperb.upstreams.huggingface import RUN_FOLDER


def save_result(config: Mapping[str, Any], run: Run, *, parts: Parts, progress: Progress) -> None:
    """Validate the final weights by language, write the model's folder and `result.json`."""
    counts = validate(config, parts)
    if not ranks.is_main():
        return
    upstream, labelled, trained = parts.model.upstream, parts.labelled, count_trained(parts.model)
    num_total, adaptation = num_parameters(parts.model.parameters()), _adaptation(config, parts)
    datasets = labelled.data.get("datasets", {}).get("train", [labelled.data["name"]])
    about = {
        "what": "pre-training", "run_id": run.id, "upstream": {"name": config["upstream"]["name"]}, "adaptation": adaptation,
        "pretrained_on": sorted(datasets), "data": labelled.data, "targets": labelled.labels, "inputs": parts.inputs,
    }  # fmt: skip
    if parts.adaptation is not None:
        parts.adaptation.export(upstream, run.folder)
        merge(upstream)
    save_pretrained(
        run.folder / RUN_FOLDER, upstream, parts.model.head, label_rate_hz=parts.labels.rate_hz, about=about
    )
    content = {
        **what_ran(config, run.environment, job=PretrainingResult.kind, inputs=parts.inputs),
        "upstream": {"name": config["upstream"]["name"], "record": upstream.record()},
        "data": labelled.data,
        "targets": {"labels": labelled.labels, "features": labelled.features},
        "scores": {
            "all": sum(counts.values(), Counts()).figures(),
            "languages": {language: one.figures() for language, one in counts.items()},
        },
        "adaptation": adaptation,
        "projection": "new" if parts.model.head.final_proj.weight.requires_grad else "base",
        "num_trainable": sum(trained.values()),
        "num_total": num_total,
        "checkpoint": RUN_FOLDER,
        "training": {**progress.counts, "history": progress.history, "kept": progress.best},
        "cost": _cost(parts, progress),
    }
    result = store.validated(content, PretrainingResult, place=f"result of {run.id}")
    store.write(run.folder, result)
    with reported("no model card"):
        write_card(result, run.folder / RUN_FOLDER)


def _cost(parts: Parts, progress: Progress) -> dict[str, Any]:
    return {
        "iterations": progress.iteration,
        "utterances": progress.num_utterances,
        "train_wall_s": progress.wall_s,
        "train_rtfx": progress.rtfx,
        "audio_s": progress.timed_audio_s,  # all but the first updates of each start
        "peak_memory_gb": progress.peak_gb(next(parts.model.parameters()).device),
    }


def _adaptation(config: Mapping[str, Any], parts: Parts) -> dict[str, Any] | None:
    """Name, settings and trained parameters by part; None where everything is trained."""
    if parts.adaptation is None:
        return None
    node = config["adaptation"]
    settings = {key: value for key, value in node.items() if key not in ("name", "_target_")}
    return {"name": node["name"], "settings": settings, "trained": count_trained(parts.model)}


def show(folder: Path) -> None:
    """Losses and accuracies, in all and by language; where the model is."""
    from rich.table import Table

    from mlsuperb.runtime.console import Console

    result, console = store.read(folder, PretrainingResult), Console()
    table = Table(title=shown(f"{result.run_id}: masked prediction of {result.targets['labels']['num_units']} units"))
    headings = ("", "loss (bits)", "masked acc. %", "unmasked acc. %", "units predicted (perplexity)", "in the labels")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for name, one in {"all": result.scores["all"], **result.scores["languages"]}.items():
        accuracies = (f"{100 * one[key]:.1f}" for key in ("masked_accuracy", "unmasked_accuracy"))
        perplexities = (f"{one[key]:.0f}" for key in ("code_perplexity", "label_perplexity"))
        table.add_row(shown(name), f"{one['loss'] / BIT:.3f}", *accuracies, *perplexities)
    console.print(table)
    cost = result.cost
    sys.stdout.write(
        f"{_size(result)}, {cost['iterations']:,} iterations, {cost['train_wall_s'] / 3600:.2f} h\n"
        f"use it: upstream=pretrained upstream.run={folder} (transformers: {folder / result.checkpoint})\n"
    )


def _size(result: PretrainingResult) -> str:
    """How many parameters were trained; of how many, if not all."""
    total = result.num_total or result.num_trainable
    if result.num_trainable == total:
        return f"{total / 1e6:.1f} M parameters"
    share = result.num_trainable / total
    return f"{result.num_trainable / 1e6:.2f} of {total / 1e6:.1f} M parameters trained ({100 * share:.3f} %)"
