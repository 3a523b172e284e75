"""Results of whole boards, made up: the content of result files, no training."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlsuperb.scoring.boards.superb_s import Board, board_named
from mlsuperb.scoring.result import BenchmarkResult

# HuBERT-base on the 2024 board's columns, 10min, near its published 42.8 39.8 44.5 61.2 71.5 39.2 43.8
SCORES = {"mono": 42.8, "multi": (40.0, 44.5), "lid": 61.2, "joint": (71.5, 39.2, 43.8)}


def run(
    track: str,
    mono: str | None = None,
    *,
    metrics: dict[str, float | None],
    experiment: str = "v1",
    size: str = "10min",
    seed: int = 0,
    lr: float = 1e-4,
    loss: float = 2.0,
    upstream: str = "hubert_base",
    adaptation: str = "frozen",
    deviations: dict[str, Any] | None = None,
    synthetic: bool = False,
    release: dict[str, Any] | None = None,
    data_seed: str = "",
    protocol: str = "v1",
    split: str = "test",
) -> dict[str, Any]:
    """One result."""
    task, units = {"mono_asr": "asr", "multi_asr": "asr"}.get(track, track), "char"
    if any(name.endswith("_per") for name in metrics):
        units = "phoneme"
    name = "synthetic" if synthetic else f"ml_superb_{size}"
    sha = hashlib.sha256(f"{name}{mono}{data_seed}".encode()).hexdigest()
    whole = None if synthetic else {"name": "7th", "whole": True, "why": ""} if release is None else release or None
    words = ["run.py", f"+exp={experiment}/{track}", f"data={name}", "data.root=/corpus", f"upstream={upstream}"]
    words += [f"data.mono={mono}"] if mono else []
    section = {
        "protocol": protocol,
        "version": "1",
        "normaliser": {"name": "v1", "version": "1"},
        "units": units,
        "counts": {},
        "metrics": {split: {key: _metric(key, value) for key, value in metrics.items()}},
        "per_language": {},
    }
    return {
        "schema_version": 1,
        "run_id": f"{upstream}-{track}-{mono}-{seed}-{lr}",
        "status": "finished",
        "official": not (synthetic or deviations),
        "not_official_because": ["settings differ"] if deviations else [],
        "synthetic": synthetic,
        "benchmark": {
            "experiment": f"{experiment}/{track}" if experiment.count("/") == 0 else experiment,
            "track": track,
            "size": size,
            "run": mono,
            "deviations": deviations or {},
            "upstream": {},
        },
        "task": {"name": task, "units": units},
        "normaliser": {"name": "v1", "version": "1"},
        "data": {"name": name, "release": whole, "splits": {"train": {"sha256": sha}, "test": {"sha256": sha}}},
        "scorer": {"version": "1", "protocols": {protocol: "1"}},
        "upstream": {"name": upstream, "card": {"pretrained_on": ["LibriSpeech"]}, "settings": {}, "loaded": {}},
        "adaptation": {"name": adaptation, "card": {}, "settings": {}},
        "head": {"name": "transformer", "card": {}, "settings": {}},
        "num_trainable": 4_700_000,
        "num_total": 99_000_000,
        "config": {
            "seed": seed,
            "upstream": {"name": upstream},
            "data": {"name": name, "mono": mono},
            "trainer": {"optimizer": {"lr": lr}},
        },
        "seed": seed,
        "code": {"commit": "abc", "dirty": False, "package_version": "0.1"},
        "env": {"command": words},
        "protocols": {protocol: section, "not_applicable": {}},
        "training": {"history": [{"valid_loss": loss + 1}, {"valid_loss": loss}]},
        "cost": {
            "train_wall_s": 3600.0,
            "peak_memory_gb": 7.25,
            "macs_per_s": {"upstream": 7_500_000_000, "head": 600_000_000},
        },
        "hypotheses": {"path": "hypotheses.jsonl", "sha256": "0" * 64, "num_utterances": {}},
        "date": "2026-01-01T00:00:00+00:00",
    }


def _metric(name: str, value: float | None) -> dict[str, Any]:
    better = "higher" if "lid" in name else "lower"
    return {"value": value, "unit": "%", "better": better, **({} if value is not None else {"reason": "no such text"})}


def whole_row(
    *, board: Board | None = None, better: float = 0.0, few_shot: bool = True, **settings: Any
) -> list[tuple[str, dict[str, Any]]]:
    """(folder, result) of every run of a board; `better` is taken from all error rates."""
    board = board or board_named("2024")
    found = {}
    for language, runs in board.mono.items():
        for mono in runs:
            metric = "all_per" if language in board.phonemes else "all_cer"
            found[f"mono_{mono}"] = run("mono_asr", mono, metrics={metric: SCORES["mono"] - better}, **settings)

    def rates(cer: float, reserved: float) -> dict[str, float]:
        return {"trained_cer": cer - better} | ({"reserved_cer": reserved - better} if few_shot else {})

    accuracy, *joint = SCORES["joint"]
    found["multi_asr"] = run("multi_asr", metrics=rates(*SCORES["multi"]), **settings)
    found["lid"] = run("lid", metrics={"trained_lid_accuracy": SCORES["lid"]}, **settings)
    metrics = rates(*joint) | {"trained_lid_accuracy": accuracy}
    found["asr_lid"] = run("asr_lid", metrics=metrics, **settings)
    prefix = settings.get("upstream", "hubert_base") + f"-s{settings.get('seed', 0)}"
    return [(f"exp/{prefix}-{name}", copy.deepcopy(result)) for name, result in found.items()]


def read(results: Iterable[tuple[str, dict[str, Any]]]) -> dict[Path, BenchmarkResult]:
    """Results as a board takes them, by folder."""
    found = [(Path(folder), BenchmarkResult.model_validate(content)) for folder, content in results]
    assert len(dict(found)) == len(found), "two results of one folder"
    return dict(found)
