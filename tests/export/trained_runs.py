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
    """As much of a result.json as an export reads."""
    result = {"synthetic": True, "data": {"name": "synthetic", **data}, "code": {"commit": "abc", "dirty": False}}
    (run / "result.json").write_text(json.dumps(result))
