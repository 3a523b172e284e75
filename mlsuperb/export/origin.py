"""Where an export is from, in words that a later run and its card can repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlsuperb
from mlsuperb.runs.environment import now
from mlsuperb.scoring.result import RESULT_FILE


def origin(run: Path, config: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """What `mlsuperb_export.json` says.

    `data` names the speech that the run was trained on, with its hashes where they are known: whoever builds on the
    export should not test on it. An imported run knows nothing of its training.
    """
    result = json.loads((run / RESULT_FILE).read_text(encoding="utf-8")) if (run / RESULT_FILE).is_file() else {}
    data = result.get("data", {})
    upstream = config["upstream"]
    return {
        "what": what,
        "run_id": config["run_id"],
        "task": config["task"]["name"],
        "adaptation": config["adaptation"]["name"],
        "upstream": {"name": upstream["name"], "checkpoint": upstream.get("checkpoint")},
        "pretrained_on": upstream.get("card", {}).get("pretrained_on"),
        "data": {
            "name": data.get("name"),
            "synthetic": result.get("synthetic"),
            "release": data.get("release"),
            "languages": data.get("languages", {}).get("train"),
            "train_sha256": data.get("splits", {}).get("train", {}).get("sha256"),
        },
        "code": result.get("code"),
        "package_version": mlsuperb.__version__,
        "date": now(),
    }
