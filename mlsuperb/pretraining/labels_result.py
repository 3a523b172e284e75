"""What a run of labelling leaves behind and what it shows."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlsuperb.pretraining.records import LabelsResult
from mlsuperb.runs import store
from mlsuperb.runs.result import what_ran
from mlsuperb.runs.run import Run
from mlsuperb.runtime import ranks
from mlsuperb.runtime.speed import Speed
from mlsuperb.units.codebook import Codebook
from mlsuperb.units.labels import LABELS, Labels


def save_result(
    config: Mapping[str, Any], run: Run, *, record: Mapping[str, Any], codebook: Codebook, speed: Speed
) -> None:
    """Look at all labels once and write `result.json`."""
    if not ranks.is_main():
        return
    labels = Labels(run.folder / LABELS)
    digest, usage = usage_of(labels)
    content = {
        **what_ran(config, run.environment, job=LabelsResult.kind, inputs=_inputs(config)),
        "data": record,
        "features": codebook.record.get("features", {}),
        "clustering": codebook.record.get("clustering", {}),
        "labels": {**asdict(labels.about), "num_frames": int(labels.lengths_N.sum(dtype=np.int64)), "sha256": digest},
        "units": usage,
        "training": {},
        "cost": {"audio_s": speed.audio_s, "wall_s": speed.total_s, "rtfx": speed.rtfx},
    }
    store.write(run.folder, store.validated(content, LabelsResult, place=f"result of {run.id}"))


def _inputs(config: Mapping[str, Any]) -> dict[str, Any]:
    """The runs that the codebook and the upstream are from."""
    given = {"codebook": config["labelling"].get("run"), "upstream": config["upstream"].get("run")}
    return {name: store.as_input(Path(folder)) for name, folder in given.items() if folder}


def usage_of(labels: Labels) -> tuple[str, dict[str, Any]]:
    """sha256 over all labels in order, and how the units are used."""
    digest, counts_K, num_runs = hashlib.sha256(), np.zeros(labels.about.num_units, np.int64), 0
    for row in labels:
        digest.update(np.ascontiguousarray(row).tobytes())
        counts_K += np.bincount(row, minlength=len(counts_K))
        num_runs += int(np.count_nonzero(np.diff(row.astype(np.int32)))) + (len(row) > 0)
    share_K = counts_K[counts_K > 0] / max(1, counts_K.sum())
    entropy = float(-(share_K * np.log(share_K)).sum())
    return digest.hexdigest(), {
        "active": int((counts_K > 0).sum()),
        "perplexity": float(np.exp(entropy)),
        "mean_segment_s": float(counts_K.sum() / labels.rate_hz / max(1, num_runs)),
        "bits_per_s": num_runs * entropy / np.log(2) / max(1e-9, float(counts_K.sum() / labels.rate_hz)),
    }


def show(folder: Path) -> None:
    """Codebook, units in use, where the labels are."""
    result = store.read(folder, LabelsResult)
    labels, units, cost = result.labels, result.units, result.cost
    hours = labels["num_frames"] / labels["rate_hz"] / 3600
    lines = [
        f"{result.run_id}: {labels['num_units']} units of {result.features.get('name')}, layer {result.features.get('layer')}",
        f"  {hours:,.2f} h labelled, {labels['num_rows']:,} utterances, {labels['rate_hz']:g} labels per second"
        + (f", {cost['rtfx']:,.0f} times real time" if cost.get("rtfx") else ""),
        f"  {units['active']} units in use, perplexity {units['perplexity']:.0f}, {1000 * units['mean_segment_s']:.0f} ms each",
        f"  labels: {folder / LABELS}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
