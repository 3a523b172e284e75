"""Finished runs that were never trained: folders with a result and hypotheses, made from texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from finished_runs import built, write_built

from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.types import Hypothesis

CONFIG: dict[str, Any] = {
    "upstream": {"name": "tiny"},
    "adaptation": {"name": "frozen"},
    "featurizer": {"name": "weighted_sum"},
    "task": {"name": "asr_lid"},
    "decoding": {"name": "greedy"},
    "data": {"name": "by_hand"},
    "seed": 0,
}


def hypothesis(language: str, number: int, reference: str, output: str, *, dataset: str = "mls") -> Hypothesis:
    return Hypothesis(
        id=f"{dataset}_{language}_{number:06d}",
        dataset=dataset,
        language=language,
        split="test",
        audio="a.wav",
        start_s=0.0,
        duration_s=1.0,
        reference=reference,
        hypothesis=output,
        predicted_language=language,
    )


def make_run(
    folder: Path,
    hypotheses: Sequence[Hypothesis],
    *,
    weights: Sequence[float] | None = (0.2, 0.3, 0.5),
    num_layers: int = 3,
    task: str = "asr",
    benchmark: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """Write a run and return its folder. `config` replaces groups of the configuration."""
    folder.mkdir(parents=True)
    full = CONFIG | {"task": {"name": task}, "run_id": folder.name} | config
    write_hypotheses(folder / "hypotheses.jsonl", hypotheses)
    (folder / "config.yaml").write_text(yaml.safe_dump(full))
    counted = {"sha256": "1" * 64, "num_utterances": len(hypotheses), "duration_s": 1.0}
    result = built(
        hypotheses,
        task,
        run_id=folder.name,
        data={"name": "by_hand", "synthetic": False, "splits": {"test": counted}},
        protocols=["v1"],
        upstream=full["upstream"],
        adaptation=full["adaptation"],
        head={"name": "transformer"},
        featurizer={
            "name": full["featurizer"]["name"],
            "num_layers": num_layers,
            "layer_weights": None if weights is None else list(weights),
        },
        config=full,
        seed=full["seed"],
        benchmark=benchmark,
    )
    write_built(folder, result)
    return folder
