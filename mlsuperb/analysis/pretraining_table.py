"""Runs of labels and of pre-training side by side: in the order in which they build on each other, and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from mlsuperb.pretraining.records import PretrainingResult
from mlsuperb.runs.result import Kind
from mlsuperb.scoring.table import ABSENT, Cells
from mlsuperb.units.usage import BIT

SYNTHETIC = "Some or all of the speech is synthetic: these numbers say little about real speech."
COLUMNS = (
    "run", "model", "features", "layer", "units", "updates", "hours", "loss (bits) ↓", "masked acc. % ↑", "unmasked acc. % ↑",
    "perplexity", "of the labels", "RTFx",
)  # fmt: skip


def in_order(runs: Mapping[Path, Kind]) -> dict[Path, Kind]:
    """Each run after those that it took something from (`Result.inputs`); otherwise by date."""
    by_date = sorted(runs.items(), key=lambda item: item[1].date)
    inputs = {result.run_id: [one.run_id for one in result.inputs.values()] for _, result in by_date}
    places = {run_id: place for place, run_id in enumerate(TopologicalSorter(inputs).static_order())}
    return dict(sorted(by_date, key=lambda item: places[item[1].run_id]))


def source(features: Mapping[str, Any]) -> str:
    """What the clustered features are of: the id of the run that trained the model, else the name of the upstream."""
    trained = features.get("upstream", {}).get("exported_from") or {}
    return str(trained.get("run_id") or features.get("name", ABSENT))


def num_updates(result: PretrainingResult) -> int:
    """Of the weights; an update may take several iterations."""
    return int(result.cost["iterations"] // result.config["trainer"]["accumulate"])


def pretraining_table(runs: Sequence[tuple[str, PretrainingResult]]) -> Cells:
    """One row per run with its name: what was trained, the units that it predicts, hours of training audio, and the scores of the
    validation utterances."""
    names = {result.run_id: name for name, result in runs}
    rows = tuple((name, *_cells(result, names)) for name, result in runs)
    title = f"{len(rows)} run{'s' if len(rows) > 1 else ''} of pre-training, scores of the validation utterances"
    return Cells(title, COLUMNS, rows, num_names=3)


def _cells(result: PretrainingResult, names: Mapping[str, str]) -> tuple[str, ...]:
    features, scores, rtfx = result.targets["features"], result.scores["all"], result.cost["train_rtfx"]
    given = source(features)
    return (
        result.upstream["name"],
        names.get(given, given),
        str(features.get("layer", ABSENT)),
        f"{result.targets['labels']['num_units']:,}",
        f"{num_updates(result):,}",
        f"{result.data['splits']['train']['duration_s'] / 3600:,.2f}",
        f"{scores['loss'] / BIT:.3f}",
        *(f"{100 * scores[name]:.1f}" for name in ("masked_accuracy", "unmasked_accuracy")),
        *(f"{scores[name]:.1f}" for name in ("code_perplexity", "label_perplexity")),
        ABSENT if rtfx is None else f"{rtfx:,.0f}",
    )
