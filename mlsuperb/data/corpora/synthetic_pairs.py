"""The built-in parallel text: sentences of the built-in corpus' words, and their translations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

from pydantic import NonNegativeInt

from mlsuperb.data.corpora.parallel import SIDES, TextCorpus
from mlsuperb.data.skips import SkipReport
from mlsuperb.data.synthesis.espeak import PACKAGES, Synthesiser, missing_packages
from mlsuperb.data.synthesis.languages import LANGUAGES, language_problem
from mlsuperb.data.synthesis.translations import word_pairs
from mlsuperb.data.synthesis.utterances import random_sentence
from mlsuperb.types import TextPair


@dataclass(kw_only=True)
class SyntheticPairs(TextCorpus):
    """Sentences of random words, 3 to 8 each, translated word by word (see `mlsuperb.data.synthesis.translations`).

    Target sentences are made as those that are spoken in `data=synthetic`, of the part of their words that has a
    translation. A sentence of one split is in no other, nor in another split of the speech. Word order and forms of words
    stay as they are: what such text teaches is a substitution of words, which says nothing about translation between
    real languages.

    The number of a sentence, its split, the languages and the seed alone decide what it says.

    Args:
        source_language: ISO 639-3 code out of those that espeak-ng speaks (`synthesis.languages.LANGUAGES`); likewise
            `target_language`.
        more_target_languages: as many sentences are translated into each of these, too.
        num_train: sentences of the training split; likewise `num_dev` and `num_test`. More only add sentences.
        seed: another one gives other sentences of the same words.
    """

    target_language: str
    more_target_languages: list[str] = field(default_factory=list)
    source_language: str = "eng"
    dataset: str = "synthetic"
    num_train: NonNegativeInt = 10_000
    num_dev: NonNegativeInt = 500
    num_test: NonNegativeInt = 500
    seed: int = 0

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found = super().problems(**settings)
        if not found:
            asked = {f"text.{side}_language": settings.get(f"{side}_language") for side in SIDES}
            found = [problem for name, code in asked.items() if (problem := _language_problem(name, code))]
            more = settings.get("more_target_languages") or ()
            found += [one for code in more if (one := _language_problem("text.more_target_languages", code))]
            if twice := sorted({code for code in more if [*asked.values(), *more].count(code) > 1}):
                found.append(
                    f"text.more_target_languages names {', '.join(twice)} a second time. Give each language once."
                )
        if settings.get("min_quality") is not None:
            found.append("text.min_quality is set, but the built-in text has no quality. Leave it at null.")
        if not any(settings.get(f"num_{split}", 1) for split in ("train", "dev", "test")):
            found.append("text.num_train, text.num_dev and text.num_test are all 0. Give one of them a larger number.")
        return found + missing_packages("text=synthetic")

    def sources(self) -> list[Path]:
        """Files of the packages that the words come from, which another version of them replaces."""
        return [Path(str(files(package) / "__init__.py")) for package in PACKAGES]

    def rows(self, skipped: SkipReport) -> Iterator[TextPair]:
        for code in (self.target_language, *self.more_target_languages):
            yield from self._rows_into(code)

    def _rows_into(self, code: str) -> Iterator[TextPair]:
        source, target = LANGUAGES[self.source_language], LANGUAGES[code]
        pairs = word_pairs(source, target, Synthesiser())
        words = [pair.target for pair in pairs]
        source_of = {pair.target.text: pair.source for pair in pairs}
        for split, num_sentences in (("train", self.num_train), ("dev", self.num_dev), ("test", self.num_test)):
            for number in range(num_sentences):
                rng = Random(f"sentence {self.seed} {source.code} {target.code} {split} {number}")
                chosen = random_sentence(rng, language=target, split=split, words=words)
                yield TextPair(
                    id=f"{self.dataset}_{source.code}_{target.code}_{split}_{number:06d}",
                    source=source.joiner.join(source_of[word] for word in chosen),
                    target=target.joiner.join(chosen),
                    source_language=source.code,
                    target_language=target.code,
                    dataset=self.dataset,
                    split=split,
                )


def _language_problem(setting: str, code: str | None) -> str | None:
    if code is None:
        return f"{setting} is null. Give a language of the built-in corpus, such as 'swa'."
    return language_problem(code, setting=setting)
