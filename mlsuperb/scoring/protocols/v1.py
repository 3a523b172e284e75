"""ML-SUPERB 1.0 (ESPnet `egs2/ml_superb/asr1`, score type "normal"): everything pooled.

Error rates are corpus-level: all errors of a subset over all its reference characters, with no mean over languages or
datasets; language accuracy likewise. Two subsets: `trained`, and the 20 `reserved` (few-shot) languages.

The language that puts an utterance into a subset is the second-to-last field of its id (`local/split_results.py`), so
`org_jpn` (ids `cv_jpn_...`) counts as jpn there; the right answer to it stays `[org_jpn]`. Ids of any other form, or
whose field is no part of the label, are taken by their label.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlsuperb.data.text import VERSIONS
from mlsuperb.scoring.counts import Counts, group, nested, total
from mlsuperb.scoring.metrics import HIGHER, LOWER, metric
from mlsuperb.types import Hypothesis, TaskFacts

# ESPnet `local/split_results.py`, RESERVE_LANG
RESERVED_LANGUAGES = frozenset(
    {
        "bos", "ceb", "dan", "epo", "frr", "ful", "kaz", "kea", "lit", "luo",
        "srp", "sun", "tok", "tos", "tsn", "tso", "tur", "umb", "vie", "zul",
    }
)  # fmt: skip
SUBSETS = ("trained", "reserved", "all")
_LID = "lid_accuracy"
_ID = re.compile(r".+_([a-z]{3})_\d{6}")  # <dataset>_<iso>_<6 digits>


class V1:
    """See `ScoringProtocol`. `counts` of the section go by label, `per_language` by the language of the id."""

    name = "v1"
    version = "1"
    title = "ML-SUPERB 1.0: all utterances pooled"
    year = 2023
    headline = {
        "trained_cer": "CER",
        "trained_per": "PER",
        "reserved_cer": "few-shot CER",
        "trained_lid_accuracy": "LID",
        "reserved_lid_accuracy": "few-shot LID",
    }
    summary = {
        "trained_cer": "CER",
        "trained_per": "PER",
        "reserved_cer": "Few-shot CER",
        "trained_lid_accuracy": "Language accuracy",
        "reserved_lid_accuracy": "Few-shot language accuracy",
    }
    meanings = {
        "cer": "character errors over reference characters",
        "per": "{unit} errors over reference {unit}s, as sclite aligns them",
        "lid_accuracy": "share of utterances given their language",
    }

    def why_not(self, facts: TaskFacts) -> str:
        """It applies to whatever has text or language."""
        return "" if facts.has_text or facts.has_language else f"needs text or language, task {facts.name} has neither"

    def score(
        self, hypotheses: Sequence[Hypothesis], facts: TaskFacts, counts: Callable[[], Sequence[Counts]]
    ) -> dict[str, Any]:
        """The section of a result."""
        by_pair = group(hypotheses, counts(), by=lambda one: (one.split, one.dataset, one.language))
        by_language = group(hypotheses, counts(), by=lambda one: (one.split, scored_language(one)))
        languages: Mapping[str, dict[str, Counts]] = nested(by_language)
        return {
            "normaliser": {"name": facts.normaliser, "version": VERSIONS[facts.normaliser]},
            "units": facts.units,
            "counts": nested({key: found.to_dict(facts) for key, found in by_pair.items()}),
            "metrics": {split: _metrics(found, facts) for split, found in languages.items()},
            "per_language": nested(
                {key: {**_rates(c, facts), "num_utterances": c.num_utterances} for key, c in by_language.items()}
            ),
        }


protocol = V1()


def scored_language(one: Hypothesis) -> str:
    """The language that an utterance counts for."""
    match = _ID.fullmatch(one.id)
    return match.group(1) if match and one.language.endswith(match.group(1)) else one.language


def in_subset(language: str, subset: str) -> bool:
    """Whether a language belongs to `trained`, `reserved` or `all`."""
    return subset == "all" or (subset == "reserved") == (language in RESERVED_LANGUAGES)


def no_member(subset: str) -> str:
    """Why an empty subset has no metric."""
    return f"no utterance of a {subset} language"


def _metrics(languages: Mapping[str, Counts], facts: TaskFacts) -> dict[str, Any]:
    found = {}
    for subset in SUBSETS:
        members = [count for name, count in languages.items() if in_subset(name, subset)]
        pooled = total(members)
        size = {"num_languages": len(members), "num_utterances": pooled.num_utterances}
        why = "no reference text" if members else no_member(subset)
        for name, rate in _rates(pooled, facts).items():
            better = HIGHER if name == _LID else LOWER
            found[f"{subset}_{name}"] = metric(rate, better=better, reason=why, **size)
    return found


def _rates(counts: Counts, facts: TaskFacts) -> dict[str, float | None]:
    text = {facts.unit_name.lower(): counts.error_rate} if facts.has_text else {}
    return text | ({_LID: counts.lid_accuracy} if facts.has_language else {})
