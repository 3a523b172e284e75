"""ML-SUPERB 1.0 (ESPnet `egs2/ml_superb/asr1`, score type "normal"): everything pooled.

Error rates are corpus-level: all errors of a subset over all its reference characters, with no mean over languages or
datasets; language accuracy likewise. Two subsets: `trained`, and the 20 `reserved` (few-shot) languages.

The language that puts an utterance into a subset is the second-to-last field of its id (`local/split_results.py`), so
`org_jpn` (ids `cv_jpn_...`) counts as jpn there; the right answer to it stays `[org_jpn]`. Ids of any other form, or
whose field is no part of the label, are taken by their label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mlsuperb.data.text import VERSIONS
from mlsuperb.scoring.counts import Counts, group, nested, total
from mlsuperb.scoring.metrics import HIGHER, LOWER, metric
from mlsuperb.scoring.utterances import TaskName, UnitName, utterance_counts
from mlsuperb.types import Hypothesis

VERSION = "1"
# ESPnet `local/split_results.py`, RESERVE_LANG
RESERVED_LANGUAGES = frozenset(
    {
        "bos", "ceb", "dan", "epo", "frr", "ful", "kaz", "kea", "lit", "luo",
        "srp", "sun", "tok", "tos", "tsn", "tso", "tur", "umb", "vie", "zul",
    }
)  # fmt: skip
SUBSETS = ("trained", "reserved", "all")
_ID = re.compile(r".+_([a-z]{3})_\d{6}")  # <dataset>_<iso>_<6 digits>


def score(
    hypotheses: Sequence[Hypothesis],
    *,
    task: TaskName,
    normaliser: str = "v1",
    units: UnitName = "char",
    counts: Sequence[Counts] | None = None,
) -> dict[str, Any]:
    """The section `v1` of a result. `counts`: what `utterance_counts` gave for these hypotheses, if it is at hand.

    `counts` of the section go by label, `per_language` by the language of the id.
    """
    counts = counts or utterance_counts(hypotheses, task=task, normaliser=normaliser, units=units)
    by_pair = group(hypotheses, counts, by=lambda one: (one.split, one.dataset, one.language))
    by_language = group(hypotheses, counts, by=lambda one: (one.split, scored_language(one)))
    splits = sorted({split for split, _ in by_language})
    return {
        "protocol": "v1",
        "version": VERSION,
        "normaliser": {"name": normaliser, "version": VERSIONS[normaliser]},
        "units": units,
        "counts": nested({key: found.to_dict(task=task) for key, found in by_pair.items()}),
        "metrics": {
            split: _metrics({name: found for (at, name), found in by_language.items() if at == split}, task, units)
            for split in splits
        },
        "per_language": nested(
            {
                key: {**_rates(found, task, units), "num_utterances": found.num_utterances}
                for key, found in by_language.items()
            }
        ),
    }


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


def _metrics(languages: dict[str, Counts], task: TaskName, units: UnitName) -> dict[str, Any]:
    found = {}
    for subset in SUBSETS:
        members = {name: count for name, count in languages.items() if in_subset(name, subset)}
        pooled = total(members.values())
        why = "no reference text" if members else no_member(subset)
        for name, rate in _rates(pooled, task, units).items():
            found[f"{subset}_{name}"] = metric(
                rate,
                better=LOWER if name in ("cer", "per") else HIGHER,
                reason=why,
                num_languages=len(members),
                num_utterances=pooled.num_utterances,
            )
    return found


def _rates(counts: Counts, task: TaskName, units: UnitName) -> dict[str, float | None]:
    rates: dict[str, float | None] = {}
    if task != "lid":
        rates["per" if units == "phoneme" else "cer"] = counts.error_rate
    if task != "asr":
        rates["lid_accuracy"] = counts.lid_accuracy
    return rates
