"""Results and run folders as a run leaves them, made from hypotheses: for tests of tables and comparisons."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlsuperb import tasks
from mlsuperb.runs import store
from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.scoring.result import SCORER_VERSION, BenchmarkResult
from mlsuperb.scoring.score import Scoring
from mlsuperb.scoring.scored_run import standing
from mlsuperb.types import Hypothesis, TaskFacts

TEXTS = [("deu", "guten abend"), ("deu", "drei"), ("fra", "bonsoir"), ("fra", "trois")] * 3
PART = {"name": "x", "card": {}, "settings": {}}


def facts(task: str = "asr_lid", **settings: Any) -> TaskFacts:
    """Of one of the package's tasks."""
    return tasks.known()[task](**settings).facts


def scored(
    hypotheses: Sequence[Hypothesis], task: str | TaskFacts = "asr_lid", *, protocols: Any = None
) -> dict[str, Any]:
    """The `protocols` of a result, as they stand in the file."""
    scoring = Scoring() if protocols is None else Scoring(protocols=list(protocols))
    return scoring.score(hypotheses, facts(task) if isinstance(task, str) else task).model_dump(exclude_unset=True)


def result_of(
    hypotheses: Sequence[Hypothesis], task: str | TaskFacts = "asr_lid", /, *, protocols: Any = None, **changes: Any
) -> BenchmarkResult:
    """A result of a run that was never trained.

    Args:
        protocols: names of those that score, or what they said.
        changes: keys of the result.
    """
    of = facts(task) if isinstance(task, str) else task
    content: dict[str, Any] = {
        "schema_version": 1,
        "run_id": "r",
        "status": "finished",
        "official": True,
        "not_official_because": [],
        "synthetic": False,
        "benchmark": None,
        "task": {key: getattr(of, key) for key in ("name", "units", "has_text", "has_language", "unit_name")},
        "normaliser": {"name": of.normaliser, "version": "1"},
        "data": {"name": "d", "splits": {"test": {"sha256": "a", "num_utterances": len(hypotheses)}}},
        "scorer": {"version": SCORER_VERSION, "protocols": {}},
        "upstream": PART,
        "adaptation": PART,
        "head": PART,
        "num_trainable": 1,
        "num_total": 2,
        "config": {"seed": 0},
        "seed": 0,
        "code": {"commit": None, "dirty": False, "package_version": "0"},
        "env": {},
        "training": {},
        "cost": {},
        "hypotheses": {"path": "hypotheses.jsonl", "sha256": "0" * 64, "num_utterances": {}},
        "date": "2026-01-01",
    }
    said = protocols if isinstance(protocols, dict) else scored(hypotheses, of, protocols=protocols)
    return BenchmarkResult.model_validate(content | {"protocols": said} | changes)


def built(
    hypotheses: Sequence[Hypothesis],
    task: str,
    *,
    environment: Mapping[str, Any] | None = None,
    not_official_because: Sequence[str] = (),
    protocols: Any = None,
    **content: Any,
) -> dict[str, Any]:
    """The content of `result.json` as a run would write it: what is official is found by the same rules."""
    if environment:
        code = {**environment["code"], "package_version": environment["package_version"]}
        rest = {key: value for key, value in environment.items() if key not in ("code", "package_version")}
        content |= {"code": code, "env": rest}
    counted = dict(Counter(one.split for one in hypotheses))
    file = {"path": "hypotheses.jsonl", "sha256": "0" * 64, "num_utterances": counted}
    one = result_of(hypotheses, task, protocols=protocols, hypotheses=file, **content)
    found = one.model_dump(exclude_unset=True)
    return found | standing(not_official_because, found, found["data"])


def write_built(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what `built` returned, perhaps changed."""
    store.write(folder, store.validated(content, BenchmarkResult, place=str(folder)))


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
    root: str = "",
    **options: Any,
) -> Path:
    """A run of twelve utterances, of which the first `wrong` say X only. `root`: before the names of their audio;
    `options`: of `result_of`."""
    folder.mkdir(parents=True)
    ones = [
        Hypothesis(
            id=f"u{n}", dataset="mls", language=language, split=split, audio=f"{root}{n}.wav", start_s=0.0, duration_s=1.0,
            reference=text, hypothesis="[eng] X" if n < wrong else f"[{language}] {text.upper()}", predicted_language=None,
        )
        for n, (language, text) in enumerate(TEXTS)
    ]  # fmt: skip
    path = folder / "hypotheses.jsonl"
    write_hypotheses(path, ones)
    options.setdefault("hypotheses", {
        "path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "num_utterances": {split: 12},
    })  # fmt: skip
    result = result_of(
        ones,
        run_id=folder.name,
        synthetic=synthetic,
        data={"name": "d", "synthetic": synthetic, "splits": {split: {"sha256": data, "num_utterances": 12}}},
        config={"run_id": folder.name, "seed": seed, "trainer": {"optimizer": {"lr": lr}}},
        seed=seed,
        training={"history": [{"epoch": 1, "valid_loss": loss}]},
        **options,
    )
    store.write(folder, result)
    return folder
