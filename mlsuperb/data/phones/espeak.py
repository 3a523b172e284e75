"""Phones that espeak-ng's rules and dictionaries give for a transcript."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import pandas as pd

from mlsuperb.data.languages import BENCHMARK_LABELS, iso_639_3
from mlsuperb.data.phones.ipa import is_ipa, split
from mlsuperb.data.phones.source import PhoneSource, Spoken
from mlsuperb.data.synthesis.espeak import INSTALL_HINT, Synthesiser
from mlsuperb.data.synthesis.languages import LANGUAGES

OTHER_LANGUAGE = "read in part as another language by espeak-ng"
NO_IPA = "phones of espeak-ng that are no IPA"
# Their tones come as digits, and one of them as the vowel ɜ (espeak-ng 1.52).
TONES_AS_DIGITS = frozenset({"cmn", "vie", "yue"})
# What espeak-ng leaves of Kirshenbaum's ASCII-IPA in some voices: ejectives of Amharic, Oromo and Tigrinya; the glottal stop of
# Danish and Oromo; dentals and capitals of Kirghiz, Uzbek and Luxembourgish; the central vowel of Maori; voiceless sonorants of
# Icelandic; palatalised consonants of Estonian.
_KIRSHENBAUM = str.maketrans(
    {
        "`": "ʼ", "?": "ʔ", "[": "\u032a", '"': "\u0308", "#": "\u0325", "^": "ʲ", "S": "ʃ", "Z": "ʒ", "N": "ŋ", "X": "χ",
        "Φ": "ɸ",
    }
)  # fmt: skip


@dataclass(kw_only=True)
class Espeak(PhoneSource):
    """espeak-ng reads the transcripts with the voice of their language, the same as in the built-in corpus, whose speech then has
    these very phones. A transcript in capitals alone is read in small letters, so that no word is spelt.

    Utterances that espeak-ng reads in part as another language (foreign script, kanji), or with signs that are no IPA in phones
    of some voices, are skipped and counted.
    """

    packages: ClassVar = ("espeakng-loader",)

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        if find_spec("espeakng_loader") is not None:
            return []
        return [f"data/phones=espeak needs espeakng_loader, not installed here. Run: {INSTALL_HINT}"]

    def check(self, languages: Collection[str]) -> None:
        if without := sorted(code for code in languages if voice_of(code) is None):
            with_phones = ", ".join(code for code in LANGUAGES if code not in TONES_AS_DIGITS)
            raise ValueError(
                f"data/phones=espeak has no phones in IPA of {', '.join(without)}: leave them out (data.languages=[...]), or "
                f"give a lexicon (data/phones=lexicon data.phones.path=FOLDER). It has those of {with_phones}"
            )

    def spoken(self, rows: pd.DataFrame, *, language: str) -> list[Spoken]:
        texts = [text.lower() if text.isupper() else text for text in rows["text"]]
        voice = voice_of(language)
        assert voice is not None, "checked before"
        return [_spoken(said) for said in Synthesiser().phonemes(texts, voice=voice, tied=True)]


def voice_of(code: str) -> str | None:
    """espeak-ng's voice for a language, by a code of any form (`deu`, `de`, `org_jpn`); None where there is none whose phones are
    IPA."""
    known = iso_639_3(code.split("_")[-1] if code in BENCHMARK_LABELS else code)
    spoken = LANGUAGES.get({"nor": "nob"}.get(known or "", known or ""))
    return None if spoken is None or spoken.code in TONES_AS_DIGITS else spoken.voice


def _spoken(said: str) -> Spoken:
    if "(" in said:  # `(en)`: it has switched
        return Spoken(why_not=OTHER_LANGUAGE)
    found = split(said.translate(_KIRSHENBAUM))
    return Spoken(tuple(found)) if is_ipa(found) else Spoken(why_not=NO_IPA)
