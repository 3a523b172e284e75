"""Run folders as a run leaves them, made from hypotheses: for tests of tables and comparisons."""

from __future__ import annotations

from pathlib import Path

from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.scoring.result import build_result, write_result
from mlsuperb.scoring.score import score
from mlsuperb.types import Hypothesis

TEXTS = [("deu", "guten abend"), ("deu", "drei"), ("fra", "bonsoir"), ("fra", "trois")] * 3


def finished_run(
    folder: Path,
    *,
    wrong: int,
    seed: int,
    data: str = "a",
    synthetic: bool = True,
    split: str = "test",
    lr: float = 0.1,
    loss: float = 1.0,
):
    """A run of twelve utterances, of which the first `wrong` say X only."""
    folder.mkdir()
    ones = [
        Hypothesis(
            id=f"u{n}", dataset="mls", language=language, split=split, audio=f"{n}.wav", start_s=0.0, duration_s=1.0,
            reference=text, hypothesis="[eng] X" if n < wrong else f"[{language}] {text.upper()}", predicted_language=None,
        )
        for n, (language, text) in enumerate(TEXTS)
    ]  # fmt: skip
    write_hypotheses(folder / "hypotheses.jsonl", ones)
    part = {"name": "x", "card": {}, "settings": {}}
    result = build_result(
        run_id=folder.name, task="asr_lid", normaliser="v1", units="char",
        data={"name": "d", "synthetic": synthetic, "splits": {split: {"sha256": data, "num_utterances": 12}}},
        protocols=score(ones, task="asr_lid"), hypotheses=folder / "hypotheses.jsonl",
        upstream=part, adaptation=part, head=part, num_trainable=1, num_total=2,
        config={"run_id": folder.name, "seed": seed, "trainer": {"optimizer": {"lr": lr}}}, seed=seed,
        environment={"package_version": "0", "code": {"commit": None, "dirty": False}},
        training={"history": [{"epoch": 1, "valid_loss": loss}]}, cost={}, date="2026-01-01",
    )  # fmt: skip
    write_result(folder / "result.json", result)
    return folder
