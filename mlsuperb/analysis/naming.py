"""Which runs a figure is of, and what they are called in it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsuperb.data.languages import language_name
from mlsuperb.scoring.comparison.runs import differences
from mlsuperb.scoring.score import NOT_APPLICABLE
from mlsuperb.types import Hypothesis

Result = Mapping[str, Any]
CONFIG_FILE, FOLDER = "config.yaml", "analysis"


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A result and the hypotheses it was made of, of one split; `place` is their folder, for messages."""

    place: str
    result: Result
    hypotheses: Sequence[Hypothesis]


def folder_for(runs: Sequence[Path]) -> Path:
    """`analysis` in the run, or beside the runs."""
    if len(runs) == 1:
        return runs[0] / FOLDER
    return Path(os.path.commonpath([run.absolute().parent for run in runs])) / FOLDER


def pairs_of(result: Result, *, split: str = "test") -> list[tuple[str, str]]:
    """The (language, dataset) pairs of a split, in order."""
    sections = [section for name, section in result["protocols"].items() if name != NOT_APPLICABLE]
    counts: Mapping[str, Any] = next(
        (section["counts"].get(split, {}) for section in sections if "counts" in section), {}
    )
    return sorted((language, dataset) for dataset, languages in counts.items() for language in languages)


def subject(result: Result) -> str:
    """What a run is about: its run of the monolingual track, its only language, or how many it has."""
    if name := (result.get("benchmark") or {}).get("run"):
        return str(name)
    languages = sorted({language for language, _ in pairs_of(result)})
    if len(languages) == 1:
        return f"{languages[0]} {language_name(languages[0])}"
    return f"{len(languages)} languages" if len(languages) > 4 else "+".join(languages)


def run_labels(results: Sequence[Result], *, subjects: Sequence[str], hidden: Collection[str]) -> list[str]:
    """A name for each result that no other has: its subject, upstream and adaptation where they differ, then whatever
    setting differs among those that would be called the same, at last its `run_id`.

    Args:
        hidden: settings that are in no name, as for `scoring.comparison.differences`.
    """
    labels = list(subjects)
    for part in ("upstream", "adaptation"):
        names = [result[part]["name"] for result in results]
        if len(set(names)) > 1:
            labels = [f"{label}, {name}" for label, name in zip(labels, names, strict=True)]
    for same in [label for label, count in Counter(labels).items() if count > 1]:
        rows = [row for row, label in enumerate(labels) if label == same]
        found = differences([results[row]["config"] for row in rows], hidden={*hidden, "data"})
        for place, row in enumerate(rows):
            settings = ", ".join(
                f"{key.rpartition('.')[2]} {values[place]}" for key, values in found.items() if values[place]
            )
            labels[row] = f"{same}, {settings}" if settings else same
    repeated = {label for label, count in Counter(labels).items() if count > 1}
    return [
        f"{label}, {result['run_id']}" if label in repeated else label
        for label, result in zip(labels, results, strict=True)
    ]
