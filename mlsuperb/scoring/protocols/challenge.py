"""The ML-SUPERB 2.0 challenge of 2025, in its two forms, which do not give the same numbers.

This one: the public `egs2/ml_superb2/asr1/local/score.py` of ESPnet. `challenge_server`: the evaluator behind the Dynabench
leaderboard. Both take the mean of utterance error rates (jiwer's, not weighted by length) of each language and then the
mean over languages; "worst 15" is the sum of the 15 highest language error rates over 15, also where there are fewer.

How our fields become their lines `uttid [iso] text`:

- The reference language is `language`, with org_jpn as jpn (the challenge's own label fix); the reference text is
  `reference` without a language token it may begin with.
- Public form: the first 5 characters of the raw hypothesis are the predicted language, the rest, stripped, is the text. Codes of
  another length, which the challenge has not, are taken as long as they are.
- Server form: the raw hypothesis is cut at its first space, as the example submission does: the predicted language
  (brackets stripped) and the text. The server then drops the first word of the text, taking it for the language, and
  does not drop the language from dialect references; in the others, runs of white space become one space.

An utterance whose normalised reference is empty counts for neither error rate nor accuracy. A hypothesis without text,
at which the original stops or which it passes over, is all deletions here, and one without a language is a wrong
language. Utterances with a reference (`num_scored`) and those without any output, text or language (`num_empty_hypotheses`) are
counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from typing import Any

from rapidfuzz.distance import Levenshtein

from mlsuperb.data.languages import iso_639_3
from mlsuperb.data.text import LanguageTokens
from mlsuperb.scoring.counts import Counts, grouped, nested
from mlsuperb.scoring.metrics import HIGHER, LOWER, mean, metric, sample_std
from mlsuperb.scoring.utterances import language_tokens, num_empty
from mlsuperb.types import Hypothesis, TaskFacts

NORMALISER_VERSION = "1"
DIALECT_SPLIT = "dev_dialect"
NUM_WORST = 15
NO_SPACES = frozenset({"cmn", "jpn", "tha", "yue"})
_TOKEN_LENGTH = 5  # of `[eng]`


class _Punctuation(dict[int, int | None]):
    """For `str.translate`: takes out every character whose Unicode category is a punctuation's; asked once for each."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code)).startswith("P") else code
        return self[code]


_PUBLIC_PUNCTUATION = _Punctuation()


@dataclass(frozen=True, kw_only=True)
class ChallengeCounts:
    """Of a (split, dataset, language). `num_scored` utterances had a reference; `cer_sum` adds up their error rates (as
    shares); `num_empty_hypotheses` are without any output."""

    num_utterances: int
    num_scored: int
    num_empty_hypotheses: int
    cer_sum: float
    lid_correct: int


@dataclass(frozen=True)
class Pair:
    """One utterance as a form of the challenge sees it, texts normalised."""

    reference: str
    text: str
    language_right: bool


@dataclass(frozen=True)
class Languages:
    """The languages of a file of hypotheses: its tokens, and those of other lengths than the challenge's."""

    tokens: LanguageTokens
    long_tokens: Collection[str]


class Challenge:
    """See `ScoringProtocol`: six numbers for every standard split."""

    name = "challenge"
    version = "1"
    title = "2025 challenge, the public scorer: mean over utterances, then over languages"
    year = 2025
    headline: Mapping[str, str] = {}
    summary: Mapping[str, str] = {}
    meanings = {
        "standard_cer": "mean of the languages' mean utterance error rates",
        "standard_lid_accuracy": "mean of the languages' accuracies",
        "worst_15_cer": (
            f"sum of the {NUM_WORST} highest error rates of languages, over {NUM_WORST} (also where there are fewer: then it is "
            "too low)"
        ),
        "std_cer": "standard deviation of the languages' character error rates (n - 1)",
        "dialect_cer": "mean of the languages' mean utterance error rates, on the dialect data",
        "dialect_lid_accuracy": "mean of the languages' accuracies, on the dialect data",
    }
    leave_out_unscored = False  # languages without a reference, of the means

    def why_not(self, facts: TaskFacts) -> str:
        """It is for language and transcript together, in characters."""
        if facts.has_text and facts.has_language:
            return "" if facts.units == "char" else f"counts characters, this task has {facts.units}s"
        return f"needs language and transcript (task asr_lid), this is task {facts.name}"

    def pair(self, one: Hypothesis, known: Languages) -> Pair:
        """An utterance as it is compared."""
        language = language_of(one)
        named = next(filter(one.hypothesis.startswith, known.long_tokens), one.hypothesis[:_TOKEN_LENGTH])
        return Pair(
            normalised(reference_of(one, known.tokens), language),
            normalised(one.hypothesis[len(named) :], language),
            language_right=named == f"[{language}]",
        )

    def score(
        self, hypotheses: Sequence[Hypothesis], facts: TaskFacts, counts: Callable[[], Sequence[Counts]]
    ) -> dict[str, Any]:
        """The section of a result. It counts for itself, by utterances' rates."""
        members = grouped(hypotheses, lambda one: (one.split, one.dataset, language_of(one)))
        codes = {label(code) for one in hypotheses for code in (one.language, one.predicted_language) if code}
        others = [token for token in (f"[{code}]" for code in codes) if len(token) != _TOKEN_LENGTH]
        known = Languages(language_tokens(hypotheses), others)
        table = {key: self._count(members[key], known) for key in sorted(members)}
        by_split: dict[str, dict[str, list[ChallengeCounts]]] = {}
        for (split, _, language), found in table.items():
            by_split.setdefault(split, {}).setdefault(language, []).append(found)
        rates = {split: _rates(languages, self.leave_out_unscored) for split, languages in by_split.items()}
        dialect = rates.get(DIALECT_SPLIT)
        standard = [split for split in rates if split != DIALECT_SPLIT] or [DIALECT_SPLIT]
        return {
            "normaliser": {"name": "challenge", "version": NORMALISER_VERSION},
            "units": "char",
            "counts": nested({key: asdict(found) for key, found in table.items()}),
            "metrics": {s: _six(None if s == DIALECT_SPLIT else rates[s], dialect) for s in standard},
            "per_language": {split: found.per_language() for split, found in rates.items()},
            "left_out": {split: found.left_out for split, found in rates.items()},
        }

    def _count(self, members: Sequence[Hypothesis], known: Languages) -> ChallengeCounts:
        scored = [pair for one in members if (pair := self.pair(one, known)).reference]
        return ChallengeCounts(
            num_utterances=len(members),
            num_scored=len(scored),
            num_empty_hypotheses=num_empty(members),
            cer_sum=fsum(utterance_cer(pair.reference, pair.text) for pair in scored),
            lid_correct=sum(pair.language_right for pair in scored),
        )


protocol = Challenge()


def normalised(text: str, language: str) -> str:
    """The public form's normalisation: no whitespace in `NO_SPACES`, no punctuation (every character of a Unicode category P),
    upper case. Everything else stays: symbols, marks, composed and decomposed letters, several spaces in a row."""
    return joined(text.strip(), language).translate(_PUBLIC_PUNCTUATION).upper()


def utterance_cer(reference: str, text: str) -> float:
    """jiwer's character error rate of one utterance: both stripped, edits over reference characters (over 1 if there
    are none)."""
    reference, text = reference.strip(), text.strip()
    return Levenshtein.distance(reference, text) / max(1, len(reference))


def joined(text: str, language: str) -> str:
    """Without whitespace, in the languages that are written so."""
    return re.sub(r"\s", "", text) if iso_639_3(language) in NO_SPACES else text


def language_of(one: Hypothesis) -> str:
    """The challenge's label of an utterance."""
    return label(one.language)


def label(code: str) -> str:
    """The challenge's label of a language."""
    return "jpn" if code == "org_jpn" else code


def reference_of(one: Hypothesis, tokens: LanguageTokens) -> str:
    """Without a language token that it begins with. `tokens`: of the file."""
    return tokens.removed_at_start(one.reference)


@dataclass(frozen=True)
class _Rates:
    """Of a split, in %, by language; `left_out` names languages that a mean may pass over."""

    cer: dict[str, float | None]
    lid: dict[str, float | None]
    left_out: list[str]

    def per_language(self) -> dict[str, Any]:
        return {language: {"cer": self.cer[language], "lid_accuracy": self.lid[language]} for language in self.cer}


def _rates(languages: Mapping[str, Sequence[ChallengeCounts]], leave_out_unscored: bool) -> _Rates:
    scored = {language: sum(one.num_scored for one in found) for language, found in languages.items()}
    left_out = [language for language, number in scored.items() if not number and leave_out_unscored]
    kept = [language for language in languages if language not in left_out]

    def share(language: str, name: str) -> float | None:
        number = scored[language]
        return 100 * fsum(getattr(one, name) for one in languages[language]) / number if number else None

    return _Rates({k: share(k, "cer_sum") for k in kept}, {k: share(k, "lid_correct") for k in kept}, left_out)


def _six(standard: _Rates | None, dialect: _Rates | None) -> dict[str, Any]:
    no_standard, no_dialect = "no standard split", f"no split {DIALECT_SPLIT}"
    return {
        "standard_cer": mean(standard.cer, better=LOWER) if standard else _absent(LOWER, no_standard),
        "standard_lid_accuracy": mean(standard.lid, better=HIGHER) if standard else _absent(HIGHER, no_standard),
        "worst_15_cer": _worst(standard.cer) if standard else _absent(LOWER, no_standard),
        "std_cer": sample_std(standard.cer) if standard else _absent(LOWER, no_standard),
        "dialect_cer": mean(dialect.cer, better=LOWER) if dialect else _absent(LOWER, no_dialect),
        "dialect_lid_accuracy": mean(dialect.lid, better=HIGHER) if dialect else _absent(HIGHER, no_dialect),
    }


def _absent(better: Any, reason: str) -> dict[str, Any]:
    return metric(None, better=better, reason=reason)


def _worst(rates: Mapping[str, float | None]) -> dict[str, Any]:
    """Sum of the 15 highest over 15; fewer languages make it smaller, as in the original, so their number is told."""
    entry = mean(rates, better=LOWER)
    if entry["value"] is not None:
        highest = sorted((rate for rate in rates.values() if rate is not None), reverse=True)[:NUM_WORST]
        entry |= {"value": fsum(highest) / NUM_WORST, "num_summed": len(highest)}
    return entry
