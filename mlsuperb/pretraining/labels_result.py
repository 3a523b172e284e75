"""What a run of labelling leaves behind and what it shows."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlsuperb.pretraining.labels_build import SpeechToLabel
from mlsuperb.pretraining.records import LabelsResult
from mlsuperb.runs import store
from mlsuperb.runs.result import what_ran
from mlsuperb.runs.run import Run
from mlsuperb.runtime import ranks
from mlsuperb.runtime.messages import printable
from mlsuperb.runtime.speed import Speed
from mlsuperb.units.codebook import Codebook
from mlsuperb.units.labels import LABELS, Labels
from mlsuperb.units.usage import bitrate, perplexity, run_starts


def save_result(
    config: Mapping[str, Any], run: Run, *, speech: SpeechToLabel, codebook: Codebook, speed: Speed
) -> None:
    """Look at all labels once and write `result.json`."""
    if not ranks.is_main():
        return
    labels = Labels(run.folder / LABELS)
    digest, usage = usage_of(labels)
    content = {
        **what_ran(config, run.environment, job=LabelsResult.kind, inputs=speech.inputs),
        "data": speech.data_record,
        "features": speech.features_record,
        "codebook_of": codebook.record.get("features", {}),
        "clustering": codebook.record.get("clustering", {}),
        "labels": {**asdict(labels.about), "num_frames": int(labels.lengths_N.sum(dtype=np.int64)), "sha256": digest},
        "units": usage,
        "training": {},
        "cost": {"audio_s": speed.audio_s, "wall_s": speed.total_s, "rtfx": speed.rtfx},
    }
    store.write(run.folder, store.validated(content, LabelsResult, place=f"result of {run.id}"))


def usage_of(labels: Labels) -> tuple[str, dict[str, Any]]:
    """sha256 over all labels in order, and how the units are used."""
    digest, num_units = hashlib.sha256(), labels.about.num_units
    counts_K, runs_K = np.zeros((2, num_units), np.int64)
    for row in labels:
        digest.update(np.ascontiguousarray(row).tobytes())
        counts_K += np.bincount(row, minlength=num_units)
        runs_K += np.bincount(row[run_starts(row)], minlength=num_units)
    seconds = float(counts_K.sum() / labels.rate_hz)
    return digest.hexdigest(), {
        "active": int((counts_K > 0).sum()),
        "perplexity": perplexity(counts_K),
        "mean_segment_s": seconds / max(1, int(runs_K.sum())),
        "bitrate": bitrate(runs_K, seconds=seconds) if seconds else 0.0,
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
    sys.stdout.write(printable("\n".join(lines)) + "\n")
