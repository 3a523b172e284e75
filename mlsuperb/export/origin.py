"""The origin of an export, for later runs on it and their cards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlsuperb
from mlsuperb.runs.environment import now
from mlsuperb.runs.store import RESULT_FILE, read
from mlsuperb.scoring.records import BenchmarkResult


def origin(run: Path, config: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """The content of `mlsuperb_export.json`.

    `data` names the speech that the run was trained on, with its hashes where they are known: whoever builds on the
    export should not test on it. An imported run knows nothing of its training.
    """
    result = read(run, BenchmarkResult) if (run / RESULT_FILE).is_file() else None
    data = result.data if result else None
    train = data.splits.get("train") if data else None
    upstream = config["upstream"]
    return {
        "what": what,
        "run_id": config["run_id"],
        "task": config["task"]["name"],
        "adaptation": config["adaptation"]["name"],
        "upstream": {"name": upstream["name"], "checkpoint": upstream.get("checkpoint")},
        "pretrained_on": upstream.get("card", {}).get("pretrained_on"),
        "data": {
            "name": data.name if data else None,
            "synthetic": result.synthetic if result else None,
            "release": data.release.model_dump() if data and data.release else None,
            "languages": data.languages.get("train") if data else None,
            "train_sha256": train.sha256 if train else None,
        },
        "code": result.code.model_dump() if result else None,
        "package_version": mlsuperb.__version__,
        "date": now(),
    }
