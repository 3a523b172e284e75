"""The languages of the built-in corpus, and their words: CLDR's names in the language itself, as Babel ships them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from statistics import median
from typing import Any, NamedTuple

from mlsuperb.data.synthesis.espeak import INSTALL_HINT, Synthesiser

MIN_WORDS = 250  # a language with fewer is not offered
MAX_WORDS = 300  # few enough to be learnt from ten minutes of speech
_MAX_PHONEMES = 16  # longer ones (unit compounds, Chinese time zones) would make a sentence by themselves
_NUM_TRIED = 700  # candidates whose phonemes are looked at
Key = tuple[str, ...]  # of a name in CLDR
_NAMES = ("territories", "languages", "scripts", "currency_names", "currency_names_plural")

# ISO 639-3 code -> espeak-ng voice, CLDR locale. Left out of espeak-ng 1.52's languages: those without a dictionary in
# the wheel (fo, kaa), those read letter by letter or as noise (ba, chr, kok, my, shn, th), Hebrew (without vowels),
# Greenlandic (espeak-ng crashes), and those for which CLDR has fewer than `MIN_WORDS` words of their own (gn,
# haw, io, jbo, ltg, pap, smj, tn) or another language's (ht).
_VOICE_AND_LOCALE = """
afr af af|amh am am|ara ar ar|arg an an|asm as as|aze az az|bel be be|ben bn bn|bos bs bs|bul bg bg|cat ca ca|ces cs cs
chv cv cv|cmn cmn zh|cym cy cy|dan da da|deu de de|ell el el|eng en-us en|epo eo eo|est et et|eus eu eu|fas fa fa
fin fi fi|fra fr fr|gla gd gd|gle ga ga|guj gu gu|hin hi hi|hrv hr hr|hun hu hu|hye hy hy|ina ia ia|ind id id|isl is is
ita it it|jpn ja ja|kan kn kn|kat ka ka|kaz kk kk|kir ky ky|kor ko ko|kur ku ku|lat la la|lav lv lv|lit lt lt|ltz lb lb
mal ml ml|mar mr mr|mkd mk mk|mlt mt mt|mri mi mi|msa ms ms|nep ne ne|nld nl nl|nob nb nb|ori or or|orm om om
pan pa pa|pol pl pl|por pt pt|que qu qu|ron ro ro|rus ru ru|sin si si|slk sk sk|slv sl sl|snd sd sd|spa es es
sqi sq sq|srp sr sr|swa sw sw|swe sv sv|tam ta ta|tat tt tt|tel te te|tir ti ti|tuk tk tk|tur tr tr|uig ug ug|ukr uk uk
urd ur ur|uzb uz uz|vie vi vi|yue yue yue
"""
# Languages of the published sets that cannot be spoken -> the one that takes their place, and why it.
STAND_INS = {
    "xty": ("que", "espeak-ng has no Mixtec; Quechua, too, is an American language written in Latin letters"),
}


@dataclass(frozen=True)
class SpokenLanguage:
    """`code` ISO 639-3, `voice` espeak-ng's name, `locale` CLDR's."""

    code: str
    voice: str
    locale: str

    @property
    def joiner(self) -> str:
        """What stands between written words."""
        return "" if self.code in ("cmn", "jpn", "yue") else " "


class Word(NamedTuple):
    """A written word and the number of phonemes that espeak-ng speaks for it."""

    text: str
    num_phonemes: int


# Every language that can be spoken, by its code
LANGUAGES = {
    entry.split()[0]: SpokenLanguage(*entry.split())
    for entry in _VOICE_AND_LOCALE.replace("\n", "|").split("|")
    if entry
}


def language_problem(code: str, *, setting: str) -> str | None:
    """A sentence if the built-in corpus cannot speak `code`."""
    if code in LANGUAGES:
        return None
    near = get_close_matches(code, LANGUAGES, n=3, cutoff=0.3)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    return (
        f"{setting}: the built-in corpus has no language {code!r}.{hint} "
        f"It speaks these {len(LANGUAGES)} (ISO 639-3): {', '.join(LANGUAGES)}."
    )


def vocabulary(language: SpokenLanguage, synthesiser: Synthesiser) -> list[Word]:
    """At most `MAX_WORDS` words which the language's voice reads as words, always the same ones in the same order.

    A word is dropped if espeak-ng is silent, switches to another language, or speaks far more or fewer phonemes for each
    letter than it usually does (it spells, or names the letters).

    Raises:
        ValueError: fewer than `MIN_WORDS` are left.
    """
    candidates = _candidates(language.locale)[:_NUM_TRIED]
    spoken = synthesiser.phonemes(candidates, voice=language.voice)
    counted = [
        Word(text, _num_phonemes(said))
        for text, said in zip(candidates, spoken, strict=True)
        if said.strip() and "(" not in said
    ]
    usual = median(word.num_phonemes / len(word.text) for word in counted)
    plain = [
        word
        for word in counted
        if 2 <= word.num_phonemes <= _MAX_PHONEMES and 0.6 <= word.num_phonemes / len(word.text) / usual <= 1.6
    ]
    if len(plain) < MIN_WORDS:
        raise ValueError(
            f"the installed Babel and espeak-ng give only {len(plain)} words of {language.code!r} that can be spoken, "
            f"{MIN_WORDS} are needed. Leave it out of data.languages, or install Babel 2.18 and espeakng-loader 0.2.4."
        )
    return plain[:MAX_WORDS]


def _candidates(locale_name: str) -> list[str]:
    """The locale's words in the script that most of them are in, in an order without meaning that never changes.

    Words which the root locale or English has too are left out: nearly all are foreign names, which would make the
    languages alike.
    """
    foreign = _words_of("root") if locale_name == "en" else _words_of("en")  # every locale inherits root's
    own = _words_of(locale_name) - foreign
    scripts = {word: {_script(letter) for letter in word if unicodedata.category(letter)[0] == "L"} for word in own}
    if locale_name == "ja":  # espeak-ng names kanji ("Chinese letter") instead of reading them
        main = "KATAKANA"
    else:
        counts = Counter(script for found in scripts.values() for script in found)
        main = max(counts, key=lambda script: (counts[script], script))
    shortest = 2 if main in ("CJK", "KATAKANA", "HANGUL", "ETHIOPIC") else 3
    kept = [word for word in sorted(own) if scripts[word] == {main} and len(word) >= shortest]
    unique = {word.casefold(): word for word in kept}  # of Januar and januar, one
    return sorted(unique.values(), key=lambda word: blake2b(f"{locale_name} {word}".encode()).digest())


def names(locale_name: str) -> dict[Key, list[str]]:
    """The words of every name in the locale, without the punctuation around them, by the name's key in CLDR, such as
    ("territories", "DE"). The same key means the same thing in all locales.

    Raises:
        ValueError: the extra `synthetic` is not installed.
    """
    try:
        from babel import localedata
    except ImportError as error:
        raise ValueError(
            f"the built-in corpus takes its words from Babel, which is not installed. Run: {INSTALL_HINT}"
        ) from error
    # A copy: looking things up writes into Babel's cache, from where it would leak into the locales loaded later.
    cached: Any = localedata.load(locale_name)
    data = localedata.LocaleDataDict(deepcopy(cached))
    split = (
        (key, [word.strip(".,;:«»“”„،") for word in name.replace("{0}", " ").split()]) for key, name in _names(data)
    )
    return {key: [word for word in words if word] for key, words in split}


def is_plain(word: str) -> bool:
    """Only letters and their marks, capital at most at the start."""
    letters = all(unicodedata.category(letter)[0] in "LM" for letter in word)
    return bool(word) and letters and not any(letter.isupper() for letter in word[1:])


def _words_of(locale_name: str) -> set[str]:
    return {word for words in names(locale_name).values() for word in words if is_plain(word)}


def _names(data: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """Every name in the locale that is written in full, with its key: no abbreviations, no symbols, no patterns."""
    for kind in _NAMES:
        yield from _strings(data.get(kind, {}), kind)
    for kind in ("months", "days", "quarters"):
        for context in ("format", "stand-alone"):
            yield from _strings(data.get(kind, {}).get(context, {}).get("wide", {}), kind, context)
    yield from _strings(data.get("eras", {}).get("wide", {}), "eras")
    for name, field in data.get("date_fields", {}).items():
        if not name.endswith(("-short", "-narrow")):
            yield from _strings(field, "date_fields", name)
    for name, unit in data.get("unit_patterns", {}).items():
        yield from _strings(unit.get("long", {}), "unit_patterns", name)
    for name, zone in data.get("time_zones", {}).items():
        yield from _strings(zone.get("city", ""), "time_zones", name)
    for name, zone in data.get("meta_zones", {}).items():
        yield from _strings(zone.get("long", {}), "meta_zones", name)


def _strings(node: Any, *key: str) -> Iterator[tuple[Key, str]]:
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, Mapping):
        for name, child in node.items():
            yield from _strings(child, *key, str(name))


def _script(letter: str) -> str:
    """The first word of the letter's Unicode name: LATIN, CYRILLIC, CJK ... (modifier letters belong to any)."""
    return unicodedata.name(letter, "?").split()[0]


def _num_phonemes(ipa: str) -> int:
    return sum(unicodedata.category(symbol) in ("Ll", "Lo") for symbol in ipa)  # no stress marks, no tone digits
