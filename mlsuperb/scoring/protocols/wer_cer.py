"""Word error rate beside character error rate, for systems whose papers report both (SeamlessM4T's adaptations, Whisper).

The paper of those adaptations (arXiv 2410.13445) publishes no normalisation. Both rates are taken after that of the public
scorer of the 2025 challenge (`challenge.normalised`: punctuation out, upper case), so that CER and WER are of the same texts.
Language tokens are deleted where the task has them.

Words are what whitespace parts. Edits are counted with equal costs (Levenshtein), as jiwer counts them: errors of a language,
or of all, over its reference words or characters. An utterance with an empty reference adds insertions only.

Some languages are written without spaces between words: the challenge's, whose whitespace its normalisation takes out, and
Lao, Burmese and Khmer. They have a character error rate and no word error rate, and are named where a word error rate is taken
over several languages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rapidfuzz.distance import Levenshtein

from mlsuperb.data.languages import iso_639_3
from mlsuperb.data.text import LanguageTokens
from mlsuperb.scoring.counts import Counts, group, nested, summed
from mlsuperb.scoring.metrics import LOWER, mean, metric
from mlsuperb.scoring.protocols.challenge import (
    NO_SPACES,
    NORMALISER_VERSION,
    label,
    language_of,
    normalised,
    reference_of,
)
from mlsuperb.scoring.utterances import language_tokens
from mlsuperb.types import Hypothesis, TaskFacts

# ISO 639-3. Beside the challenge's: Lao and Burmese, of which Whisper's paper (arXiv 2212.04356) reports characters, too, and
# Khmer; the macrolanguage of Mandarin.
_WITHOUT_WORDS = NO_SPACES | {"khm", "lao", "mya", "zho"}


@dataclass(frozen=True, kw_only=True)
class WordCounts:
    """Of one utterance or of many: edits and reference length in words (both 0 in a language without words) and in characters."""

    num_utterances: int = 0
    word_errors: int = 0
    num_words: int = 0
    character_errors: int = 0
    num_characters: int = 0

    @property
    def wer(self) -> float | None:
        """Word errors per reference word in %; None without a reference word."""
        return 100 * self.word_errors / self.num_words if self.num_words else None

    @property
    def cer(self) -> float | None:
        """Character errors per reference character in %; None without a reference character."""
        return 100 * self.character_errors / self.num_characters if self.num_characters else None


class WordErrors:
    """See `ScoringProtocol`."""

    name = "wer_cer"
    version = "1"
    title = "words beside characters, after the 2025 challenge's normalisation: means over languages, and pooled"
    year = 2024
    headline: Mapping[str, str] = {"macro_wer": "WER", "macro_cer": "CER"}
    summary: Mapping[str, str] = {"macro_wer": "WER, mean over languages", "macro_cer": "CER, mean over languages"}
    meanings = {
        "macro_wer": "mean of the languages' word error rates",
        "micro_wer": "word errors over reference words, pooled",
        "macro_cer": "mean of the languages' character error rates",
        "micro_cer": "character errors over reference characters, pooled",
    }

    def why_not(self, facts: TaskFacts) -> str:
        """It is for transcripts in characters."""
        if not facts.has_text:
            return f"needs transcripts, task {facts.name} has none"
        return "" if facts.units == "char" else f"counts words of written text, this task has {facts.units}s"

    def score(
        self, hypotheses: Sequence[Hypothesis], facts: TaskFacts, counts: Callable[[], Sequence[Counts]]
    ) -> dict[str, Any]:
        """The section of a result. It counts for itself, after its own normalisation."""
        tokens = language_tokens(hypotheses)
        counted = [_counted(one, facts, tokens) for one in hypotheses]
        by_cell = group(hypotheses, counted, by=lambda one: (one.split, one.dataset, language_of(one)))
        by_split = nested(group(hypotheses, counted, by=lambda one: (one.split, language_of(one))))
        return {
            "normaliser": {"name": "challenge", "version": NORMALISER_VERSION},
            "units": "word",
            "counts": nested({key: asdict(found) for key, found in by_cell.items()}),
            "metrics": {split: _metrics(languages) for split, languages in by_split.items()},
            "per_language": {
                split: {
                    language: {"wer": found.wer, "cer": found.cer, "num_utterances": found.num_utterances}
                    for language, found in languages.items()
                }
                for split, languages in by_split.items()
            },
        }


protocol = WordErrors()
RATES: Mapping[str, str] = {"wer": "WER", "cer": "CER"}


def edit_counts(hypotheses: Sequence[Hypothesis], facts: TaskFacts, *, rate: str) -> list[Counts]:
    """The errors of each utterance in words (`wer`; none in a language without words) or in characters (`cer`), for intervals and
    differences; as substitutions, since kinds of edits are not told apart."""
    tokens = language_tokens(hypotheses)
    counted = [_counted(one, facts, tokens) for one in hypotheses]
    sizes = [
        (one.word_errors, one.num_words) if rate == "wer" else (one.character_errors, one.num_characters)
        for one in counted
    ]
    return [Counts(num_utterances=1, substitutions=errors, reference_length=length) for errors, length in sizes]


def without_words(language: str) -> bool:
    """Whether a language is written without spaces between words. `language`: its code in any form, or a label (`org_jpn`)."""
    return iso_639_3(label(language)) in _WITHOUT_WORDS


def _counted(one: Hypothesis, facts: TaskFacts, tokens: LanguageTokens) -> WordCounts:
    language = language_of(one)
    output = tokens.removed(one.hypothesis) if facts.has_language else one.hypothesis
    reference, text = (normalised(side, language).strip() for side in (reference_of(one, tokens), output))
    reference_words, words = ([], []) if without_words(language) else (reference.split(), text.split())
    return WordCounts(
        num_utterances=1,
        word_errors=Levenshtein.distance(reference_words, words),
        num_words=len(reference_words),
        character_errors=Levenshtein.distance(reference, text),
        num_characters=len(reference),
    )


def _metrics(languages: Mapping[str, WordCounts]) -> dict[str, Any]:
    with_words = {language: found for language, found in languages.items() if not without_words(language)}
    without = [language for language in languages if without_words(language)]
    left_out = {"without_words": without} if without else {}
    words, characters = (summed(some.values(), WordCounts) for some in (with_words, languages))
    micro_wer = metric(words.wer, better=LOWER, reason="no reference text", **_size(words, with_words))
    macro_wer = mean({language: found.wer for language, found in with_words.items()}, better=LOWER)
    if not with_words:
        macro_wer["reason"] = micro_wer["reason"] = f"written without spaces between words: {', '.join(without)}"
    return {
        "macro_wer": macro_wer | left_out,
        "micro_wer": micro_wer | left_out,
        "macro_cer": mean({language: found.cer for language, found in languages.items()}, better=LOWER),
        "micro_cer": metric(characters.cer, better=LOWER, reason="no reference text", **_size(characters, languages)),
    }


def _size(pooled: WordCounts, languages: Mapping[str, WordCounts]) -> dict[str, int]:
    return {"num_languages": len(languages), "num_utterances": pooled.num_utterances}
