"""A finished run as a report needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mlsuperb.analysis.languages import LanguageScore, language_scores
from mlsuperb.analysis.utterance_facts import add_sound, text_facts
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.scoring.counts import Counts
from mlsuperb.scoring.result import RESULT_FILE, read_result, scoring_settings
from mlsuperb.scoring.utterances import utterance_counts
from mlsuperb.types import Hypothesis

ANALYSIS, TABLE = "analysis", "utterances.csv"


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """`hypotheses`, `counts` and the rows of `table` (`utterance_facts`) are of the same utterances, those of `split`."""

    folder: Path
    result: dict[str, Any]
    split: str
    hypotheses: list[Hypothesis]
    counts: list[Counts]
    table: pd.DataFrame

    @property
    def task(self) -> str:
        return str(self.result["task"]["name"])

    @property
    def units(self) -> str:
        return str(self.result["task"]["units"])

    @property
    def rate(self) -> str:
        """What an utterance's `score` is called."""
        if self.task == "lid":
            return "language error %"
        return "PER %" if self.units == "phoneme" else "CER %"

    def language_scores(self) -> list[LanguageScore]:
        """By label."""
        return language_scores(self.table, task=self.task)

    @property
    def lid_accuracy(self) -> float | None:
        """In %, over all utterances; None where the task names no language."""
        return None if self.task == "asr" else 100 * float((self.table["named"] == self.table["language"]).mean())


def load_run(
    folder: Path,
    *,
    split: str = "test",
    with_sound: bool = True,
    progress: Callable[[Any, int], Any] = lambda rows, number: rows,
) -> LoadedRun:
    """Read `result.json`, `hypotheses.jsonl` and `tokens.txt`, count every utterance's errors and measure its audio.

    Args:
        with_sound: measure the audio; what is measured is kept in `analysis/utterances.csv` of the folder.
        progress: wraps the measurements as they come, given their number.

    Raises:
        ValueError: no finished run, or no hypothesis of the split.
        OSError: the folder cannot be written.
    """
    result = read_result(folder / RESULT_FILE)
    everything = read_hypotheses(folder / result["hypotheses"]["path"])
    hypotheses = [one for one in everything if one.split == split]
    if not hypotheses:
        known = ", ".join(sorted({one.split for one in everything}))
        raise ValueError(f"{folder} has no hypotheses of the split {split!r}; it has {known}: give one with --split")
    settings = scoring_settings(result)
    counts = utterance_counts(hypotheses, **settings)
    tokens = folder / "tokens.txt"
    known_tokens = Vocabulary.load(tokens).tokens if tokens.is_file() else None
    table = text_facts(hypotheses, counts, tokens=known_tokens, **settings)
    if with_sound:
        table = add_sound(table, cache=folder / ANALYSIS / TABLE, progress=progress)
    return LoadedRun(folder=folder, result=result, split=split, hypotheses=hypotheses, counts=counts, table=table)


def short_names(runs: Sequence[LoadedRun]) -> list[str]:
    """Names for tables and legends, all different: of each run id the parts that not all of them have, without the last one
    (the hash of the settings) where it is not needed; numbered where one run is given twice."""
    ids = [str(run.result["run_id"]) for run in runs]
    common = set.intersection(*(set(one.split("-")) for one in ids))
    parts = [[part for part in one.split("-") if part not in common] for one in ids]
    for names in (["-".join(kept[:-1]) for kept in parts], ["-".join(kept) for kept in parts], ids):
        if all(names) and len(set(names)) == len(names):
            return names
    return [f"{number}: {one}" for number, one in enumerate(ids, start=1)]
