"""ML-SUPERB 2.0 benchmark: dataset -> language -> mean (a co-author's scorer, `Bartelds/espnet`,
`egs2/ml_superb/asr1/local/{score_macro.sh,multi_superb_score_sd.py}`).

Utterances are counted as in v1. A language's error rate is the plain mean over its datasets of errors / reference
characters; the macro average is the mean over languages. The two googlei18n sets are one dataset, and `org_jpn` is a
language of its own (`orgjpn`). Unlike the original, which reads sclite's table, rates are not rounded on the way. The
subset that the original scores is `trained`. How the paper averages language accuracy is not known: micro (as v1) and
macro are both given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from mlsuperb.data.text import VERSIONS
from mlsuperb.scoring.counts import Counts, group, nested, total
from mlsuperb.scoring.metrics import HIGHER, LOWER, hole, mean, metric, sample_std
from mlsuperb.scoring.protocols.v1 import SUBSETS, in_subset, no_member
from mlsuperb.types import Hypothesis, TaskFacts

DATASET_NAMES = {
    "googlei18n_asr": "googlei18n",
    "googlei18n_tts": "googlei18n",
    "mexico-el": "mexico",
    "M-AILABS": "m",
}
LANGUAGE_NAMES = {"org_jpn": "orgjpn"}

Tree = Mapping[str, Mapping[str, Counts]]  # language -> dataset


class V2:
    """See `ScoringProtocol`."""

    name = "v2"
    version = "1"
    title = "ML-SUPERB 2.0: mean over a language's datasets, then over languages"
    year = 2024
    headline = {
        "trained_macro_cer": "CER",
        "trained_std_cer": "SD",
        "trained_worst_language_cer": "worst",
        "reserved_macro_cer": "few-shot CER",
        "trained_lid_accuracy": "LID",
    }
    summary = {
        "trained_macro_cer": "Mean over languages",
        "trained_std_cer": "Deviation over languages",
        "trained_worst_language_cer": "Worst language",
        "reserved_macro_cer": "Few-shot mean over languages",
    }
    meanings = {
        "macro_cer": "mean of the languages' character error rates",
        "std_cer": "standard deviation of the languages' character error rates (n - 1)",
        "worst_language_cer": "the highest character error rate of a language",
        "dataset_range": "the widest gap between two datasets of one language, in points",
        "micro_cer": "character errors over reference characters, pooled",
        "lid_accuracy": "share of utterances given their language",
        "macro_lid_accuracy": "mean of the languages' accuracies",
    }

    def why_not(self, facts: TaskFacts) -> str:
        """It is for transcripts in characters."""
        if not facts.has_text:
            return f"needs transcripts, task {facts.name} has none"
        return "" if facts.units == "char" else f"counts characters, this task has {facts.units}s"

    def score(
        self, hypotheses: Sequence[Hypothesis], facts: TaskFacts, counts: Callable[[], Sequence[Counts]]
    ) -> dict[str, Any]:
        """The section of a result."""
        table = group(hypotheses, counts(), by=_cell)
        trees = nested({(split, language, dataset): found for (split, dataset, language), found in table.items()})
        return {
            "normaliser": {"name": facts.normaliser, "version": VERSIONS[facts.normaliser]},
            "units": "char",
            "counts": nested({key: found.to_dict(facts) for key, found in table.items()}),
            "metrics": {
                split: {
                    f"{subset}_{name}": entry
                    for subset in SUBSETS
                    for name, entry in _subset_metrics(tree, subset, facts).items()
                }
                for split, tree in trees.items()
            },
            "per_language": {
                split: {language: _per_language(datasets, facts) for language, datasets in tree.items()}
                for split, tree in trees.items()
            },
        }


protocol = V2()


def _cell(one: Hypothesis) -> tuple[str, str, str]:
    dataset, language = DATASET_NAMES.get(one.dataset, one.dataset), LANGUAGE_NAMES.get(one.language, one.language)
    return one.split, dataset, language


def _language_rate(datasets: Mapping[str, Counts]) -> float | None:
    """Mean over datasets; None if one of them has no reference text."""
    rates = [found.error_rate for found in datasets.values()]
    return None if None in rates else fmean(rate for rate in rates if rate is not None)


def _subset_metrics(tree: Tree, subset: str, facts: TaskFacts) -> dict[str, Any]:
    members = {language: datasets for language, datasets in tree.items() if in_subset(language, subset)}
    found = _metrics(members, facts)
    return found if members else {name: entry | {"reason": no_member(subset)} for name, entry in found.items()}


def _metrics(tree: Tree, facts: TaskFacts) -> dict[str, Any]:
    rates = {language: _language_rate(datasets) for language, datasets in tree.items()}
    pooled = total(found for datasets in tree.values() for found in datasets.values())
    size = {"num_languages": len(tree), "num_utterances": pooled.num_utterances}
    found = {
        "macro_cer": mean(rates, better=LOWER),
        "std_cer": sample_std(rates),
        "worst_language_cer": _worst(rates),
        "dataset_range": _dataset_range(tree),
        "micro_cer": metric(pooled.error_rate, better=LOWER, reason="no reference text", **size),
    }
    if facts.has_language:
        per_language = {language: total(datasets.values()).lid_accuracy for language, datasets in tree.items()}
        found["lid_accuracy"] = metric(pooled.lid_accuracy, better=HIGHER, reason="no utterance", **size)
        found["macro_lid_accuracy"] = mean(per_language, better=HIGHER)
    return found


def _worst(rates: Mapping[str, float | None]) -> dict[str, Any]:
    if reason := hole(rates):
        return metric(None, better=LOWER, reason=reason)
    highest = max(rate for rate in rates.values() if rate is not None)
    return metric(highest, better=LOWER, languages=[name for name, rate in rates.items() if rate == highest])


def _dataset_range(tree: Tree) -> dict[str, Any]:
    """The largest gap between two datasets of one language, and where it is."""
    rates = {
        language: {dataset: found.error_rate for dataset, found in datasets.items()}
        for language, datasets in tree.items()
        if len(datasets) > 1
    }
    if not rates:
        return metric(None, better=LOWER, reason="no language has more than one dataset")
    if reason := hole({f"{d}/{language}": rate for language, row in rates.items() for d, rate in row.items()}):
        return metric(None, better=LOWER, reason=reason)
    known = {language: {d: rate for d, rate in row.items() if rate is not None} for language, row in rates.items()}
    gaps = {language: max(row.values()) - min(row.values()) for language, row in known.items()}
    widest = max(gaps.values())
    where = {
        language: {"highest": max(row, key=row.__getitem__), "lowest": min(row, key=row.__getitem__)}
        for language, row in known.items()
        if gaps[language] == widest
    }
    return metric(widest, better=LOWER, num_languages=len(gaps), languages=where)


def _per_language(datasets: Mapping[str, Counts], facts: TaskFacts) -> dict[str, Any]:
    pooled = total(datasets.values())
    entry: dict[str, Any] = {
        "cer": _language_rate(datasets),
        "datasets": {dataset: found.error_rate for dataset, found in datasets.items()},
        "num_utterances": pooled.num_utterances,
    }
    return entry | ({"lid_accuracy": pooled.lid_accuracy} if facts.has_language else {})
