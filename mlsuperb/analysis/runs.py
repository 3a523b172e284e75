"""Finished runs as analyses need them, and what they are called in figures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mlsuperb.analysis.languages import LanguageScore, language_scores
from mlsuperb.analysis.utterance_facts import add_sound, text_facts
from mlsuperb.data.languages import language_name
from mlsuperb.data.text import LanguageTokens
from mlsuperb.runs.hypotheses import hypotheses_of_split, tokens_of
from mlsuperb.runs.store import read
from mlsuperb.scoring.comparison.runs import differences
from mlsuperb.scoring.counts import Counts
from mlsuperb.scoring.metrics import TITLES
from mlsuperb.scoring.result import SCORED, BenchmarkResult
from mlsuperb.scoring.utterances import language_tokens, shown_counts, utterance_counts
from mlsuperb.types import Hypothesis

ANALYSIS, UTTERANCES = "analysis", "utterances.csv"


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A result and the hypotheses of one split. `counts` and the rows of `table` are of the same utterances, in their order.

    Args:
        with_sound: whether `table` holds measurements of the audio, which are kept in `analysis/utterances.csv` of the folder.
        progress: wraps the measurements as they come, given their number.
    """

    folder: Path
    result: BenchmarkResult
    split: str
    hypotheses: Sequence[Hypothesis]
    with_sound: bool = False
    progress: Callable[[Any, int], Any] = lambda rows, number: rows

    @cached_property
    def counts(self) -> list[Counts]:
        """The errors of each utterance (`shown_counts`)."""
        return shown_counts(self.hypotheses, self.result.facts)

    @cached_property
    def counts_of_v1(self) -> list[Counts]:
        """The same as protocol v1 counts them."""
        facts = self.result.facts
        return utterance_counts(self.hypotheses, facts) if facts.units == "phone" else self.counts

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per utterance (`utterance_facts`).

        Raises:
            OSError: the measurements cannot be kept.
        """
        table = text_facts(self.hypotheses, self.counts, self.result.facts, tokens=tokens_of(self.folder))
        cache = self.folder / ANALYSIS / UTTERANCES
        return add_sound(table, cache=cache, progress=self.progress) if self.with_sound else table

    @cached_property
    def language_tokens(self) -> LanguageTokens:
        """By which its hypotheses name languages."""
        return language_tokens(self.hypotheses)

    @property
    def rate(self) -> str:
        """What an utterance's `score` is called."""
        return f"{self.result.task.unit_name} %" if self.result.task.has_text else "language error %"

    @cached_property
    def languages(self) -> list[LanguageScore]:
        """Scores by language label."""
        return language_scores(self.table, self.result.facts)

    @cached_property
    def further_rates(self) -> dict[str, dict[str, float | None]]:
        """What protocols in the units of the task tell of each language beside its error rate and language accuracy, such as
        `PFER`: title -> language -> rate in %, of rates that some language has."""
        task, found = self.result.task, dict[str, dict[str, float | None]]()
        for section in self.result.protocols.sections.values():
            rates = section.per_language.get(self.split, {}) if section.units == task.units else {}
            for name in dict.fromkeys(name for one in rates.values() for name in one):
                title, values = TITLES.get(name, ""), {code: one.get(name) for code, one in rates.items()}
                if title not in ("", task.unit_name, TITLES["lid_accuracy"]) and any(values.values()):
                    found[title] = values
        return found

    @property
    def lid_accuracy(self) -> float | None:
        """Share of utterances given their language, in %; None where the task names no language."""
        right = self.table["named"] == self.table["language"]
        return 100 * float(right.mean()) if self.result.task.has_language else None


def load_run(folder: Path, *, split: str = "test", result: BenchmarkResult | None = None, **options: Any) -> LoadedRun:
    """Read a run's result (unless it is given) and hypotheses; `options`: further arguments of `LoadedRun`.

    Raises:
        ValueError: no finished run, or no hypothesis of the split.
    """
    result = result or read(folder, *SCORED)
    hypotheses = hypotheses_of_split(folder, split)
    return LoadedRun(folder=folder, result=result, split=split, hypotheses=hypotheses, **options)


def folder_for(runs: Sequence[Path]) -> Path:
    """`analysis` in the run, or beside the runs."""
    if len(runs) == 1:
        return runs[0] / ANALYSIS
    return Path(os.path.commonpath([run.absolute().parent for run in runs])) / ANALYSIS


def pairs_of(result: BenchmarkResult, *, split: str = "test") -> list[tuple[str, str]]:
    """The (language, dataset) pairs of a split, in order."""
    sections = [*result.protocols.sections.values()]
    counts = sections[0].counts.get(split, {}) if sections else {}
    return sorted((language, dataset) for dataset, languages in counts.items() for language in languages)


def subject(result: BenchmarkResult) -> str:
    """What a run is about: its run of the monolingual track, its only language, or how many it has."""
    if result.benchmark and result.benchmark.run:
        return result.benchmark.run
    languages = sorted({language for language, _ in pairs_of(result)})
    if len(languages) == 1:
        return f"{languages[0]} {language_name(languages[0])}"
    return f"{len(languages)} languages" if len(languages) > 4 else "+".join(languages)


def run_labels(results: Sequence[BenchmarkResult], *, subjects: Sequence[str]) -> list[str]:
    """A different name for each result: its subject, the upstream and adaptation where they differ, then whatever setting and
    corpus differs among those that would be called the same, at last its `run_id`."""
    labels = list(subjects)
    for names in ([one.upstream.name for one in results], [one.adaptation.name for one in results]):
        if len(set(names)) > 1:
            labels = [f"{label}, {name}" for label, name in zip(labels, names, strict=True)]
    for same in [label for label, count in Counter(labels).items() if count > 1]:
        rows = [row for row, label in enumerate(labels) if label == same]
        found = differences([results[row] for row in rows], but=("data",))
        corpora = [results[row].data.name for row in rows]
        found |= {"data": corpora} if len(set(corpora)) > 1 else {}
        for place, row in enumerate(rows):
            settings = [f"{key.rpartition('.')[2]} {values[place]}" for key, values in found.items() if values[place]]
            labels[row] = ", ".join([same, *settings])
    repeated = {label for label, count in Counter(labels).items() if count > 1}
    return [
        f"{label}, {one.run_id}" if label in repeated else label for label, one in zip(labels, results, strict=True)
    ]


def short_names(ids: Sequence[str]) -> list[str]:
    """Names for tables and legends, all different: of each run id the parts that are not in all ids, without the last part
    (the hash of the settings) where it is not needed; numbered where one run is given twice."""
    common = set.intersection(*(set(one.split("-")) for one in ids))
    parts = [[part for part in one.split("-") if part not in common] for one in ids]
    for names in (["-".join(kept[:-1]) for kept in parts], ["-".join(kept) for kept in parts], list(ids)):
        if all(names) and len(set(names)) == len(names):
            return names
    return [f"{number}: {one}" for number, one in enumerate(ids, start=1)]
