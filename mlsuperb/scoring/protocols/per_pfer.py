"""Phone error rate and phone feature error rate, as phone recognition reports them (PRiSM, arXiv 2601.14046; POWSM, arXiv
2510.24992).

Phones are what spaces part, each in its one spelling and without stress (`mlsuperb.data.phones.ipa`); language tokens are deleted
where the task has them. PER: edits (equal costs, as jiwer counts them) over reference phones. PFER: the cheapest edits when a
substitution costs the share of PanPhon's 24 articulatory features that differ (p for b: 1/24), and an insertion or deletion 1,
over the segments of the reference (`mlsuperb.scoring.phone_features`). The distance is PanPhon's
`hamming_feature_edit_distance`, as in PRiSM; what PRiSM's code prints as PFER is its mean over utterances, not divided by
phones (`feature_errors / 24 / num_utterances` of the counts).

Errors of a language are pooled; the mean is over languages. PFER needs the extra `phones`, and reference phones in IPA: it is
null where more than a tenth of a language's have no features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rapidfuzz.distance import Levenshtein

from mlsuperb.data.phones.features import HINT, NUM_FEATURES, FeatureTable, feature_table, panphon_version
from mlsuperb.data.phones.ipa import VERSION
from mlsuperb.scoring.counts import Counts, group, nested, summed
from mlsuperb.scoring.metrics import LOWER, mean, metric
from mlsuperb.scoring.phone_features import feature_edits
from mlsuperb.scoring.utterances import compared_units, language_tokens
from mlsuperb.types import Hypothesis, TaskFacts

_MOST_UNKNOWN = 0.1  # share of segments without features


@dataclass(frozen=True, kw_only=True)
class PhoneCounts:
    """Of many utterances: edits and reference length in phones; features to change and features of the reference (24 of each
    segment), both 0 without PanPhon; reference segments without features."""

    num_utterances: int = 0
    phone_errors: int = 0
    num_phones: int = 0
    feature_errors: int = 0
    num_features: int = 0
    num_unknown: int = 0

    @property
    def per(self) -> float | None:
        """Phone errors per reference phone in %; None without a reference phone."""
        return 100 * self.phone_errors / self.num_phones if self.num_phones else None

    @property
    def pfer(self) -> float | None:
        """Features to change per feature of the reference in %; None without PanPhon, or where too many have none."""
        unknown = NUM_FEATURES * self.num_unknown
        known = self.num_features and unknown <= _MOST_UNKNOWN * self.num_features
        return 100 * self.feature_errors / self.num_features if known else None


class PhoneErrors:
    """See `ScoringProtocol`."""

    name = "per_pfer"
    version = "1"
    title = "phones, and their articulatory features: means over languages, and pooled"
    year = 2026
    headline: Mapping[str, str] = {"macro_per": "PER", "macro_pfer": "PFER"}
    summary: Mapping[str, str] = {"macro_per": "PER, mean over languages", "macro_pfer": "PFER, mean over languages"}
    meanings = {
        "macro_per": "mean of the languages' phone error rates",
        "micro_per": "phone errors over reference phones, pooled",
        "macro_pfer": "mean of the languages' phone feature error rates: substitutions cost the share of features that differ",
        "micro_pfer": "feature errors over features of the reference phones, pooled",
    }

    def why_not(self, facts: TaskFacts) -> str:
        """It is for phones."""
        if not facts.has_text:
            return f"needs transcripts, task {facts.name} has none"
        return "" if facts.units == "phone" else f"counts phones, this task has {facts.units}s"

    def score(
        self, hypotheses: Sequence[Hypothesis], facts: TaskFacts, counts: Callable[[], Sequence[Counts]]
    ) -> dict[str, Any]:
        """The section of a result. It counts for itself, with equal costs."""
        table = feature_table()
        counted = _counted(hypotheses, facts, table)
        by_cell = group(hypotheses, counted, by=lambda one: (one.split, one.dataset, one.language))
        by_split = nested(group(hypotheses, counted, by=lambda one: (one.split, one.language)))
        return {
            "normaliser": {"name": "phones", "version": VERSION},
            "features": None if table is None else {"name": "panphon", "version": panphon_version()},
            "units": "phone",
            "counts": nested({key: asdict(found) for key, found in by_cell.items()}),
            "metrics": {split: _metrics(languages, table) for split, languages in by_split.items()},
            "per_language": {
                split: {
                    language: {"per": found.per, "pfer": found.pfer, "num_utterances": found.num_utterances}
                    for language, found in languages.items()
                }
                for split, languages in by_split.items()
            },
        }


protocol = PhoneErrors()


def _counted(hypotheses: Sequence[Hypothesis], facts: TaskFacts, table: FeatureTable | None) -> list[PhoneCounts]:
    tokens = language_tokens(hypotheses)
    pairs = [compared_units(one, facts, tokens) for one in hypotheses]
    edits = [None] * len(pairs) if table is None else feature_edits(pairs, table)
    return [
        PhoneCounts(
            num_utterances=1,
            phone_errors=Levenshtein.distance(reference, output),
            num_phones=len(reference),
            feature_errors=0 if found is None else found.errors,
            num_features=0 if found is None else NUM_FEATURES * found.num_segments,
            num_unknown=0 if found is None else found.num_unknown,
        )
        for (reference, output), found in zip(pairs, edits, strict=True)
    ]


def _metrics(languages: Mapping[str, PhoneCounts], table: FeatureTable | None) -> dict[str, Any]:
    pooled = summed(languages.values(), PhoneCounts)
    size = {"num_languages": len(languages), "num_utterances": pooled.num_utterances}
    none = "no reference text"
    without = [code for code, found in languages.items() if found.num_phones and found.pfer is None]
    why = (
        HINT
        if table is None
        else f"more than a tenth of the phones are no IPA in {', '.join(without)}"
        if without
        else none
    )
    pfers = {language: found.pfer for language, found in languages.items()}
    macro_pfer = mean(pfers, better=LOWER)
    if "reason" in macro_pfer and (table is None or without):
        macro_pfer["reason"] = why
    micro_pfer = None if without else pooled.pfer
    return {
        "macro_per": mean({language: found.per for language, found in languages.items()}, better=LOWER),
        "micro_per": metric(pooled.per, better=LOWER, reason=none, **size),
        "macro_pfer": macro_pfer,
        "micro_pfer": metric(micro_pfer, better=LOWER, reason=why, **size),
    }
