"""Functions of `scoring` in the shape that they get at the same time as this room: to be removed when both are merged.

Each is imported from here as it will be imported from `scoring`: see the line above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from mlsuperb.scoring import result as old_result
from mlsuperb.scoring import table as old_table
from mlsuperb.scoring import utterances as old_utterances
from mlsuperb.scoring.comparison import paired as old_paired
from mlsuperb.scoring.comparison import run_facts as old_run_facts
from mlsuperb.scoring.comparison import runs as old_runs
from mlsuperb.scoring.counts import Counts
from mlsuperb.scoring.records import BenchmarkResult, Metric, Protocols
from mlsuperb.scoring.table import Cells
from mlsuperb.types import Hypothesis, TaskFacts


def _dict(record: Any) -> dict[str, Any]:
    return dict(record.model_dump(exclude_unset=True))


def _settings(facts: TaskFacts) -> dict[str, Any]:
    return {"task": facts.name, "normaliser": facts.normaliser, "units": facts.units}


# scoring.result
def comparable(a: BenchmarkResult, b: BenchmarkResult) -> list[str]:
    return old_result.comparable(_dict(a), _dict(b))


def same_scoring(a: BenchmarkResult, b: BenchmarkResult) -> list[str]:
    return old_result.same_scoring(_dict(a), _dict(b))


# scoring.utterances
def utterance_counts(hypotheses: Sequence[Hypothesis], facts: TaskFacts) -> list[Counts]:
    return old_utterances.utterance_counts(hypotheses, **_settings(facts))


def compared_texts(one: Hypothesis, facts: TaskFacts) -> tuple[str, str]:
    return old_utterances.compared_texts(one, **_settings(facts))


# scoring.comparison.runs
def differences(results: Sequence[BenchmarkResult]) -> dict[str, list[str]]:
    hidden = {path for one in results for path in one.not_science}
    return old_runs.differences([one.config for one in results], hidden=hidden)


def runs_table(results: Sequence[BenchmarkResult], *, split: str) -> Cells:
    hidden = {path for one in results for path in one.not_science}
    return old_runs.runs_table([_dict(one) for one in results], hidden=hidden, split=split)


# scoring.comparison.run_facts
def overlap(result: BenchmarkResult) -> str:
    return old_run_facts.overlap(_dict(result))


# scoring.comparison.paired
def paired_table(a: Sequence[Hypothesis], b: Sequence[Hypothesis], facts: TaskFacts) -> list[old_paired.PairedRow]:
    return old_paired.paired_table(a, b, **_settings(facts))


def most_different(
    a: Sequence[Hypothesis], b: Sequence[Hypothesis], facts: TaskFacts, *, n: int
) -> list[old_paired.PairedUtterance]:
    return old_paired.most_different(a, b, n=n, **_settings(facts))


# scoring.table
def protocol_tables(protocols: Protocols) -> list[Cells]:
    return old_table.protocol_tables(_dict(protocols))


def taken_over(metric: Metric) -> str:
    return old_table.taken_over(metric.model_dump())


# scoring.protocols
@dataclass(frozen=True, kw_only=True)
class Described:
    """`headline`: metric -> what it is called in a summary; `meanings`: of metrics, by what follows the subset."""

    title: str
    headline: Mapping[str, str] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)


_EDITS = {
    "cer": "character errors over reference characters",
    "per": "phoneme errors over reference phonemes",
    "lid_accuracy": "share of utterances given their language",
}
_CHALLENGE = {
    "standard_cer": "mean of the languages' mean utterance error rates",
    "standard_lid_accuracy": "mean of the languages' accuracies",
    "worst_15_cer": "sum of the 15 highest error rates of languages, over 15 (also where there are fewer: then it is too low)",
    "std_cer": "standard deviation of the languages' character error rates (n - 1)",
    "dialect_cer": "the same as standard_cer, on the dialect data",
    "dialect_lid_accuracy": "the same as standard_lid_accuracy, on the dialect data",
}
_PROTOCOLS = {
    "v1": Described(
        title="ML-SUPERB 1.0: all utterances pooled",
        headline={
            "trained_cer": "CER",
            "trained_per": "PER",
            "reserved_cer": "Few-shot CER",
            "trained_lid_accuracy": "Language accuracy",
            "reserved_lid_accuracy": "Few-shot language accuracy",
        },
        meanings=_EDITS,
    ),
    "v2": Described(
        title="ML-SUPERB 2.0: mean over a language's datasets, then over languages",
        headline={
            "trained_macro_cer": "Mean over languages",
            "trained_std_cer": "Deviation over languages",
            "trained_worst_language_cer": "Worst language",
            "reserved_macro_cer": "Few-shot mean over languages",
        },
        meanings={
            "macro_cer": "mean of the languages' character error rates",
            "std_cer": "standard deviation of the languages' character error rates (n - 1)",
            "worst_language_cer": "the highest character error rate of a language",
            "dataset_range": "the widest gap between two datasets of one language, in points",
            "micro_cer": "character errors over reference characters, pooled",
            "lid_accuracy": "share of utterances given their language",
            "macro_lid_accuracy": "mean of the languages' accuracies",
        },
    ),
    "challenge": Described(
        title="2025 challenge, the public scorer: mean over utterances, then over languages", meanings=_CHALLENGE
    ),
    "challenge_server": Described(title="2025 challenge, as its server scored", meanings=_CHALLENGE),
}
protocols = SimpleNamespace(get=lambda name: _PROTOCOLS.get(name, Described(title="")))
