"""What a run leaves behind and what it shows: result.json, the table of languages, a few utterances."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from mlsuperb.benchmark.card import write_card
from mlsuperb.benchmark.macs import macs_per_second
from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.benchmark.published import against_official, describe
from mlsuperb.runs.decoding import Decoding
from mlsuperb.runs.environment import now
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE, read_hypotheses
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import describe_device
from mlsuperb.runtime.speed import Speed, peak_memory_gb
from mlsuperb.scoring.comparison.run_facts import above_cap
from mlsuperb.scoring.examples import show_examples
from mlsuperb.scoring.result import RESULT_FILE, build_result, read_result, scoring_settings, write_result
from mlsuperb.scoring.score import Scoring
from mlsuperb.scoring.table import SYNTHETIC, section_tables
from mlsuperb.training.parameters import count_trained, describe_trained, num_parameters
from mlsuperb.training.progress import Progress

log = logging.getLogger(__name__)


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
    task = config["task"]
    settings: dict[str, Any] = {"task": task["name"], "normaliser": task["normaliser"], "units": task["units"]}
    protocols = Scoring(protocols=config["scoring"]["protocols"]).score(decoded.hypotheses, **settings)
    parts: dict[str, Any] = {name: _part(config[name]) for name in ("upstream", "adaptation", "head")}
    parts["upstream"]["loaded"] = model.upstream.record()
    benchmark = describe(config)
    trained = count_trained(model)
    parts["adaptation"]["trained"] = trained  # by part of the model
    result = build_result(
        run_id=config["run_id"],
        **settings,
        data=record,
        protocols=protocols,
        hypotheses=folder / HYPOTHESES_FILE,
        **parts,
        featurizer=_featurizer(config["featurizer"], model),
        num_trainable=sum(trained.values()),
        num_total=num_parameters(model.parameters()),
        config=config,
        seed=config["seed"],
        environment=environment,
        benchmark=benchmark,
        not_official_because=against_official(benchmark, record.get("release"), synthetic=record["synthetic"]),
        training={**progress.counts, "history": progress.history, "averaged": progress.best},
        cost=_cost(progress, decoded.speed, model),
        date=now(),
    )
    write_result(folder / RESULT_FILE, result)
    save_card(folder)


def _cost(progress: Progress, decoding: Speed, model: SpeechModel) -> dict[str, Any]:
    device = next(model.parameters()).device
    peak_gb = peak_memory_gb(device)  # before multiply-accumulates are counted, which takes some, too
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
    try:
        write_card(folder)
    except OSError as error:
        log.warning("no model card: %s", error)


def _part(node: Mapping[str, Any]) -> dict[str, Any]:
    """Name, facts and settings of a part, for tables."""
    settings = {key: value for key, value in node.items() if key not in ("name", "card", "_target_")}
    return {"name": node["name"], "card": node.get("card", {}), "settings": settings}


def _featurizer(node: Mapping[str, Any], model: SpeechModel) -> dict[str, Any]:
    """Its name, how many layers it was given, and the share that each has in the stream, where it learns one."""
    weights = model.featurizer.weights
    shares = None if weights is None else weights.tolist()
    return {"name": node["name"], "num_layers": model.upstream.num_layers, "layer_weights": shares}


def show(folder: Path, console: Console | None = None) -> None:
    """The result of a folder: scores by language and dataset, three utterances with their differences marked, the path."""
    if not ranks.is_main():
        return
    console = console or Console()
    result = read_result(folder / RESULT_FILE)
    hypotheses = read_hypotheses(folder / HYPOTHESES_FILE)
    name = next(iter(result["scorer"]["protocols"]))  # one at least: checked before the run
    for cells in section_tables(result["protocols"][name]):
        console.print(cells.to_rich())
    console.print(
        show_examples(
            hypotheses,
            3,
            **scoring_settings(result),
            colour=console.is_terminal and not console.no_color,
        ),
        soft_wrap=True,
    )
    trained = describe_trained(result["adaptation"].get("trained", {}))
    console.print(f"{trained}{above_cap(result['num_trainable'])}", highlight=False, soft_wrap=True)
    empty = sum(not one.hypothesis for one in hypotheses)
    if empty:
        console.print(f"{empty:,} of {len(hypotheses):,} hypotheses are empty.")
    if num_unaligned := result["training"].get("num_unaligned"):
        console.print(
            f"{num_unaligned:,} times an utterance was too short for its text and weighed nothing "
            f"(of {result['cost']['utterances']:,} seen in training).",
            soft_wrap=True,
        )
    if result["synthetic"]:
        console.print(SYNTHETIC, style="bold yellow")
    others = ", ".join(other for other in result["scorer"]["protocols"] if other != name)
    if others:
        console.print(f"Scores of {others}: mlsuperb score {folder}", highlight=False, soft_wrap=True)
    console.print(f"One page with pictures and sound: mlsuperb report {folder}", highlight=False, soft_wrap=True)
    console.print(f"Everything is in {folder}", highlight=False, soft_wrap=True)
