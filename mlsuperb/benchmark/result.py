"""What a run leaves behind and what it shows: result.json, the table of languages, a few utterances."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from mlsuperb.benchmark.card import write_card
from mlsuperb.benchmark.macs import macs_per_second
from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.benchmark.published import against_official, describe
from mlsuperb.config.build import instantiate
from mlsuperb.data.text import VERSIONS
from mlsuperb.runs import store
from mlsuperb.runs.decoding import Decoding
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE, read_hypotheses
from mlsuperb.runs.result import what_ran
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import describe_device
from mlsuperb.runtime.speed import Speed, peak_memory_gb
from mlsuperb.scoring.comparison.run_facts import above_cap
from mlsuperb.scoring.examples import show_examples
from mlsuperb.scoring.result import SCORER_VERSION, BenchmarkResult
from mlsuperb.scoring.table import SYNTHETIC, section_tables, tell
from mlsuperb.training.parameters import count_trained, describe_trained, num_parameters
from mlsuperb.training.progress import Progress
from mlsuperb.types import Hypothesis

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
    benchmark = describe(config)
    content = {
        **what_ran(config, environment, job=BenchmarkResult.kind),
        **what_was_scored(config, folder, decoded.hypotheses),
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


def what_was_scored(config: Mapping[str, Any], folder: Path, hypotheses: Sequence[Hypothesis]) -> dict[str, Any]:
    """Task, scores and the hypotheses that they are of."""
    facts = instantiate(config["task"]).facts
    protocols = instantiate(config["scoring"]).score(hypotheses, facts)
    path = folder / HYPOTHESES_FILE
    return {
        "task": {key: value for key, value in asdict(facts).items() if key != "normaliser"},
        "normaliser": {"name": facts.normaliser, "version": VERSIONS[facts.normaliser]},
        "scorer": {
            "version": SCORER_VERSION,
            "protocols": {name: section.version for name, section in protocols.sections.items()},
        },
        "protocols": protocols,
        "hypotheses": {
            "path": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "num_utterances": dict(Counter(one.split for one in hypotheses)),
        },
    }


def what_was_trained(config: Mapping[str, Any], model: SpeechModel) -> dict[str, Any]:
    """The parts of the model, and how large they are."""
    trained, weights = count_trained(model), model.featurizer.weights
    return {
        "upstream": part(config["upstream"]) | {"loaded": model.upstream.record()},
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


def standing(reasons: Iterable[str], content: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a result is official, and if not, why: the `reasons` that are known, and those that it says itself."""
    found = [*reasons, *_reasons(content, data)]
    synthetic = bool(data.get("synthetic", False))
    return {"official": not found, "not_official_because": found, "synthetic": synthetic}


def _reasons(content: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("synthetic"):
        yield "synthetic data"
    if content["code"]["dirty"]:
        yield "the code was changed since its commit"
    counted = content["hypotheses"]["num_utterances"]
    tested = [split for split in data["splits"] if split not in ("train", "dev")]
    for split in dict.fromkeys([*tested, *counted]):
        number, expected = counted.get(split, 0), data["splits"].get(split, {}).get("num_utterances", 0)
        if number != expected:
            yield f"split {split}: {number} hypotheses for {expected} utterances"


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


def part(node: Mapping[str, Any]) -> dict[str, Any]:
    """Name, facts and settings of a part, for tables."""
    settings = {key: value for key, value in node.items() if key not in ("name", "card", "_target_")}
    return {"name": node["name"], "card": node.get("card", {}), "settings": settings}


def show(folder: Path, console: Console | None = None, *, kind: type[BenchmarkResult] = BenchmarkResult) -> None:
    """The result of a folder: scores by language and dataset, three utterances with their differences marked, the path.

    Args:
        kind: of the result: of another job, whose results have what the benchmark's have.
    """
    if not ranks.is_main():
        return
    console = console or Console()
    result = store.read(folder, kind)
    hypotheses = read_hypotheses(folder / result.hypotheses.path)
    first, *others = result.protocols.sections.values()  # one at least: checked before the run
    for cells in section_tables(first):
        console.print(cells.to_rich())
    colour = console.is_terminal and not console.no_color
    console.print(show_examples(hypotheses, result.facts, colour=colour), soft_wrap=True)
    trained = describe_trained(result.adaptation.trained)
    tell(console, f"{trained}{above_cap(result.num_trainable)}", *_remarks(result, hypotheses))
    if result.synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    if others:
        names = ", ".join(other.protocol for other in others)
        tell(console, f"Scores of {names}: mlsuperb score {folder}")
    tell(console, f"One page with pictures and sound: mlsuperb report {folder}", f"Everything is in {folder}")


def _remarks(result: BenchmarkResult, hypotheses: Sequence[Hypothesis]) -> Iterator[str]:
    if empty := sum(not one.hypothesis for one in hypotheses):
        yield f"{empty:,} of {len(hypotheses):,} hypotheses are empty."
    if num_unaligned := result.training.get("num_unaligned"):
        yield (
            f"{num_unaligned:,} times a training example had fewer frames than tokens and did not contribute to the loss "
            f"(of {result.cost['utterances']:,} examples seen in training)."
        )
