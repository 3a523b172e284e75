"""Words of two languages that mean the same: CLDR's names at the same key (territories.DE: "Germany", "Ujerumani")."""

from __future__ import annotations

from typing import NamedTuple

from mlsuperb.data.synthesis.espeak import Synthesiser
from mlsuperb.data.synthesis.languages import Key, SpokenLanguage, Word, is_plain, names, vocabulary

MIN_WORD_PAIRS = 50  # two languages that share fewer are refused


class WordPair(NamedTuple):
    """A written word, and the word of the other language's vocabulary that it is translated into."""

    source: str
    target: Word


def word_pairs(source: SpokenLanguage, target: SpokenLanguage, synthesiser: Synthesiser) -> list[WordPair]:
    """The words of the target language's vocabulary that have a translation in the source language, in its order.

    Only names that are a single word in both languages are taken, so that nothing has to be aligned. Each word of either
    language is in one pair at most: where there are synonyms or several forms, the name whose key comes first in
    alphabetical order decides (singular before plural).

    Raises:
        ValueError: there are fewer than `MIN_WORD_PAIRS`, or `vocabulary` raises it.
    """
    words = {word.text.casefold(): word for word in vocabulary(target, synthesiser)}
    sources, targets = _single_words(source.locale), _single_words(target.locale)
    source_of: dict[str, str] = {}
    taken: set[str] = set()
    for key in sorted(sources.keys() & targets.keys()):
        one, other = sources[key], targets[key].casefold()
        if other in words and other not in source_of and one.casefold() not in taken:
            source_of[other] = one
            taken.add(one.casefold())
    if len(source_of) < MIN_WORD_PAIRS:
        raise ValueError(
            f"only {len(source_of)} words of {target.code!r} in the built-in corpus have a translation in {source.code!r}, "
            f"{MIN_WORD_PAIRS} are needed. Take another source or target language."
        )
    return [WordPair(source_of[text], word) for text, word in words.items() if text in source_of]


def _single_words(locale_name: str) -> dict[Key, str]:
    """The names of a locale that are a single plain word."""
    found = names(locale_name)
    return {key: words[0] for key, words in found.items() if len(words) == 1 and is_plain(words[0])}
