"""What a task is: which tokens are the target of an utterance, and how an output reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mlsuperb.data.phonemes import PHONEME_LANGUAGES, missing_extra, to_phonemes
from mlsuperb.data.phones.ipa import phones, words_among
from mlsuperb.data.text import LanguageTokens, normaliser
from mlsuperb.types import TaskFacts, Utterance

SPACE = "<space>"
Units = Literal["char", "phoneme", "phone"]


@dataclass(kw_only=True)
class Task:
    """Targets and outputs of one track.

    Args:
        normaliser: how transcripts are normalised for the targets and for the `v1` score (see `mlsuperb.data.text`).
        units: `char`, every code point a token and a space `<space>`; `phoneme`, for monolingual jpn and cmn; `phone`, of any
            languages whose texts are phones with spaces between them (`data.phones`), each a token.
        monolingual: refuse data of more than one language.
    """

    name: ClassVar[str]
    has_language: ClassVar[bool]
    has_text: ClassVar[bool]

    normaliser: Literal["raw", "v1", "v1_mono"] = "v1"
    units: Units = "char"
    monolingual: bool = False

    @property
    def facts(self) -> TaskFacts:
        """What scores and tables have to know."""
        return TaskFacts(
            name=self.name,
            has_text=self.has_text,
            has_language=self.has_language,
            units=self.units,
            unit_name="CER" if self.units == "char" else "PER",
            normaliser="raw" if self.units == "phone" else self.normaliser,
        )

    @classmethod
    def problems(cls, *, normaliser: str, units: str, **_: Any) -> list[str]:
        """Phonemes exist for single languages, so they go with the monolingual track alone; phones are not normalised."""
        if units == "phone" and normaliser != "raw":
            return [
                f"task.units=phone with task.normaliser={normaliser} would write phones in capitals and without their "
                "marks in ASCII: set task.normaliser=raw (+exp=phones/asr has both)"
            ]
        if units == "phoneme" and (cls.has_language or normaliser != "v1_mono"):
            languages = " and ".join(PHONEME_LANGUAGES)
            return [
                f"task.units=phoneme is for monolingual ASR in {languages}: use it with +exp=v1/mono_asr, "
                "or set task.units=char"
            ]
        return []

    def check_languages(self, languages: Collection[str]) -> None:
        """Raises:
        ValueError: this task cannot be trained on these languages together.
        """
        if self.monolingual and len(languages) > 1:
            listed = ", ".join(sorted(languages)[:8])
            raise ValueError(
                f"task.monolingual=true, but the data hold {len(languages)} languages ({listed} ...): choose a published "
                "set with data.mono=eng1 (or fra2, jpn, ...), or one language with data.languages=[swa]"
            )
        if self.units == "phoneme" and (problem := missing_extra(next(iter(languages)))):
            raise ValueError(problem)

    def check_texts(self, texts: Iterable[str]) -> None:
        """Raises:
        ValueError: the targets are phones, and these texts are words.
        """
        if self.units != "phone":
            return
        if found := words_among(texts):
            raise ValueError(
                f"task.units=phone, but the texts of the data are words and no phones ({found}): say where their phones come "
                "from, as with +data/phones=espeak"
            )

    def target(self, utterance: Utterance) -> list[str]:
        """Target tokens of an utterance: `[iso]`, then the units of the normalised text, of characters a `<space>` between the
        two."""
        tokens: list[str] = [f"[{utterance.language}]"] if self.has_language else []
        units = self._units(utterance) if self.has_text else []
        between = [SPACE] if tokens and units and self.units == "char" else []
        return [*tokens, *between, *units]

    def keeps(self, text: str) -> bool:
        """Whether a transcript leaves something to train on once it is normalised: text, or the language alone. ESPnet's `asr.sh`
        (stage 4) drops lines with nothing behind the id, and `[iso]` stands there."""
        return self.has_language or bool(normaliser(self.normaliser)(text).strip())

    def text(self, tokens: Sequence[str]) -> str:
        """The raw output that decoded `tokens` spell, language token kept."""
        if self.units != "char":
            return " ".join(tokens)
        return "".join(" " if token == SPACE else token for token in tokens)

    def language(self, text: str, tokens: LanguageTokens) -> str | None:
        """The language a raw output names, if this task names one. `tokens`: those of the languages that the model knows."""
        return tokens.first(text) if self.has_language else None

    def _units(self, utterance: Utterance) -> list[str]:
        if self.units == "phone":
            return phones(utterance.text)
        text = " ".join(normaliser(self.normaliser)(utterance.text).split())
        if self.units == "phoneme":
            return to_phonemes(text, utterance.language).split()
        return [SPACE if character == " " else character for character in text]
