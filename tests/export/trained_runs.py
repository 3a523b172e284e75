"""Run folders without a training: weights as a training might have left them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from mlsuperb.benchmark import build
from mlsuperb.config.compose import compose
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.runtime.files import write_json
from mlsuperb.training.checkpoint import save_weights, trained_tensors
from mlsuperb.training.progress import PROGRESS_FILE, Progress

TOKENS = ["<blank>", "<unk>", "<space>", "[deu]", "[spa]", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "<sos/eos>"]
SMALL = ["head=linear", "trainer.device=cpu", "decoding=greedy"]


def trained_run(folder: Path, *overrides: str, **changes: dict[str, Any]) -> Path:
    """A run of `overrides` in which every trained tensor is a little away from where it began; `changes` go into groups."""
    config = compose([*SMALL, *overrides])
    config = {name: node | changes[name] if name in changes else node for name, node in config.items()}
    config |= {"run_id": folder.name, "output_root": str(folder.parent)}
    folder.mkdir(parents=True)
    recogniser = build.build_recogniser(config, vocabulary=Vocabulary(TOKENS))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in trained_tensors(recogniser.model).values():
            tensor.add_(0.05 * torch.randn(tensor.shape, generator=generator))
    save_weights(trained_tensors(recogniser.model), folder / "model.safetensors")
    Vocabulary(TOKENS).save(folder / build.TOKENS_FILE)
    write_json(folder / f"{build.UPSTREAM}.json", build.upstream_record(recogniser))
    Progress().save(folder / PROGRESS_FILE)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def add_result(run: Path, **data: Any) -> None:
    """A result.json of a run on synthetic data that scored nothing; `data`: further facts of its data."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    part = {"name": "x"}
    result = {
        "schema_version": 1,
        "run_id": run.name,
        "status": "finished",
        "official": False,
        "not_official_because": ["synthetic data"],
        "synthetic": True,
        "benchmark": None,
        "task": {"name": config["task"]["name"], "units": "char"},
        "normaliser": {"name": "v1", "version": "1"},
        "data": {"name": "synthetic", "splits": {}, **data},
        "scorer": {"version": "1", "protocols": {}},
        **dict.fromkeys(("upstream", "adaptation", "head"), part),
        "num_trainable": 1,
        "num_total": 2,
        "config": config,
        "seed": 0,
        "code": {"commit": "abc", "dirty": False, "package_version": "0"},
        "env": {},
        "protocols": {},
        "training": {},
        "cost": {},
        "hypotheses": {"path": "hypotheses.jsonl", "sha256": "0", "num_utterances": {}},
        "date": "2026-01-01T00:00:00+00:00",
    }
    (run / "result.json").write_text(json.dumps(result))
