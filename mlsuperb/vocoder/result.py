"""What the training of a vocoder leaves behind and what it shows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsuperb.runs import store
from mlsuperb.runs.result import what_ran
from mlsuperb.runs.run import Run
from mlsuperb.runtime import ranks
from mlsuperb.runtime.messages import printable
from mlsuperb.training.progress import Progress
from mlsuperb.vocoder.build import Parts, validate
from mlsuperb.vocoder.folder import VOCODER, save_vocoder
from mlsuperb.vocoder.records import VocoderResult
from mlsuperb.vocoder.validation import Errors


def save_result(config: Mapping[str, Any], run: Run, *, parts: Parts, progress: Progress) -> None:
    """Validate the final weights by language, write the vocoder's folder and `result.json`."""
    errors = validate(config, parts)
    if not ranks.is_main():
        return
    model, labelled = parts.model, parts.labelled.model_dump()
    inputs = store.as_inputs({"targets": config["targets"]["run"]})
    about = {"run_id": run.id, "data": labelled["data"], "targets": labelled["labels"], "inputs": inputs}
    save_vocoder(run.folder / VOCODER, model.generator, parts.voice, about=about)
    content = {
        **what_ran(config, run.environment, job=VocoderResult.kind, inputs=inputs),
        "data": labelled["data"],
        "targets": {"labels": labelled["labels"], "features": labelled["features"]},
        "voices": {"speakers": list(parts.voice.speakers), "languages": list(parts.voice.languages)},
        "start": parts.started,
        "scores": {
            "all": sum(errors.values(), Errors()).figures(),
            "languages": {language: one.figures() for language, one in errors.items()},
        },
        "num_parameters": {
            name: sum(one.numel() for one in part.parameters())
            for name, part in (("vocoder", model.generator), ("discriminators", model.discriminator))
        },
        "checkpoint": VOCODER,
        "training": {**progress.counts, "history": progress.history, "kept": progress.best},
        "cost": {
            "iterations": progress.iteration,
            "segments": progress.num_utterances,
            "train_wall_s": progress.wall_s,
            "train_rtfx": progress.rtfx,
            "audio_s": progress.timed_audio_s,  # all but the first updates of each start
            "peak_memory_gb": progress.peak_gb(next(model.parameters()).device),
        },
    }
    store.write(run.folder, store.validated(content, VocoderResult, place=f"result of {run.id}"))


def show(folder: Path) -> None:
    """Distances of dev utterances to their copies, in all and by language; where the vocoder is."""
    from rich.table import Table
    from rich.text import Text

    from mlsuperb.runtime.console import Console

    result, console = store.read(folder, VocoderResult), Console()
    title = f"{result.run_id}: speech of {result.targets['labels']['num_units']} units"
    table = Table(title=Text(printable(title)))
    for heading in ("", "log-mel L1", "squared error of log(1 + frames)"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, one in {"all": result.scores["all"], **result.scores["languages"]}.items():
        table.add_row(Text(printable(name)), f"{one['mel_l1']:.3f}", f"{one['duration_error']:.3f}")
    console.print(table)
    millions = {name: f"{number / 1e6:.2f} M" for name, number in result.num_parameters.items()}
    cost = result.cost
    sys.stdout.write(
        f"{millions['vocoder']} parameters (discriminators: {millions['discriminators']}), {cost['iterations']:,} iterations, "
        f"{cost['train_wall_s'] / 3600:.2f} h\nuse it: mlsuperb units synthesise UNITS --vocoder {folder} --out DIR\n"
    )
