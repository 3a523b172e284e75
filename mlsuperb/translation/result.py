"""What an adaptation of a translator leaves behind and what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mlsuperb.config.build import instantiate
from mlsuperb.runs import store
from mlsuperb.runs.decoding import Decoding
from mlsuperb.runs.result import what_ran
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import describe_device
from mlsuperb.runtime.speed import peak_memory_gb
from mlsuperb.scoring.result import TranslationResult
from mlsuperb.scoring.scored_run import part, standing, what_was_scored
from mlsuperb.scoring.scored_run import show as show_scores
from mlsuperb.scoring.table import Cells, table_console
from mlsuperb.training.parameters import count_trained, num_parameters
from mlsuperb.training.progress import Progress
from mlsuperb.translation.data import Data
from mlsuperb.translation.model import TranslationModel
from mlsuperb.translation.text_scores import BITS, NO_TEXT, TRANSLATIONS_FILE, TextScores


def save_result(
    config: Mapping[str, Any], folder: Path, *, model: TranslationModel, data: Data, decoded: Decoding, progress: Progress,
    figures: Mapping[str, float], environment: Mapping[str, Any], of_text: TextScores = NO_TEXT, language: str | None = None,
) -> None:  # fmt: skip
    """Score the hypotheses and write `result.json`.

    Args:
        figures: of the validation examples.
        environment: of the process that decoded.
        of_text: what parallel text was scored with.
        language: that all was written in, whatever the data named.
    """
    if not ranks.is_main():
        return
    trained, start = count_trained(model), (config.get("start") or {}).get("run")
    facts = instantiate(config["task"]).facts
    content = {
        **what_ran(config, environment, job=TranslationResult.kind, inputs=store.as_inputs({"start": start})),
        **what_was_scored(folder, decoded.hypotheses, facts=facts, scoring=instantiate(config["scoring"])),
        "benchmark": None,
        "data": data.record,
        "text": {**data.text_record, **of_text.record},
        "train_on": config["train_on"],
        "language": language,
        "upstream": part(config["model"]) | {"loaded": model.translator.record()},
        "adaptation": part(config["adaptation"]) | {"trained": trained},
        "head": {"name": "decoder"},
        "num_trainable": sum(trained.values()),
        "num_total": num_parameters(model.parameters()),
        "scores": {**figures, **of_text.figures},
        "training": {**progress.counts, "history": progress.history, "averaged": progress.best},
        "cost": _cost(progress, decoded, next(model.parameters()).device, of_audio=config["train_on"] == ["speech"]),
    }
    content |= standing(["an adapted model of speech and text is no run of the benchmark"], content, data.record)
    store.write(folder, store.validated(content, TranslationResult, place=f"result of {config['run_id']}"))


def _cost(progress: Progress, decoded: Decoding, device: torch.device, *, of_audio: bool) -> dict[str, Any]:
    """Memory is that of the training, of decoding where nothing was trained; `train_rtfx` is of trainings on speech alone."""
    return {
        "iterations": progress.iteration,
        "utterances": progress.num_utterances,
        "train_wall_s": round(progress.wall_s, 1),
        "decode_wall_s": round(decoded.speed.total_s, 1),
        "train_rtfx": progress.rtfx if of_audio else None,
        "rtfx": decoded.speed.rtfx,
        "peak_memory_gb": round(progress.memory_gb or peak_memory_gb(device), 2),
        "hours": round((progress.wall_s + decoded.speed.total_s) / 3600, 4),
        "device": describe_device(device),
    }


def show(folder: Path) -> None:
    """Scores of the parallel text, if any; of speech by language, examples, the path."""
    if not ranks.is_main():
        return
    console = table_console()
    if cells := text_table(store.read(folder, TranslationResult)):
        console.print(cells.to_rich())
    show_scores(folder, kind=TranslationResult)


def text_table(result: TranslationResult) -> Cells | None:
    """What the parallel text gave; None where none was scored."""
    scores, scored = result.scores, result.text.get("scored")
    if not scored:
        return None
    low, high = (scores.get(f"{BITS}_{bound}") for bound in ("low", "high"))
    interval = "" if low is None else f"95 % interval {low:.3f} to {high:.3f}"
    what = "" if scored["translates"] else "the source is not read: the decoder as a language model"
    rows = [("bits per character ↓", f"{scores[BITS]:.3f}", "; ".join(one for one in (interval, what) if one))]
    number = scored["num_translations"]
    for name, title in (("text_chrf", "chrF ↑"), ("text_bleu", "BLEU ↑")):
        if name in scores:
            rows.append((title, f"{scores[name]:.1f}", f"{number:,} translations ({TRANSLATIONS_FILE})"))
    title = f"Parallel text {result.text['name']}, split {scored['split']}: {scored['num_pairs']:,} pairs"
    return Cells(title, ("score", "value", "of"), tuple(rows), num_names=1, last_is_name=True)
