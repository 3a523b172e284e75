"""How phones are written: one spelling of each in IPA, no stress, and where one ends and the next begins.

Stress is left out, as in PRiSM (arXiv 2601.14046): it belongs to a syllable and not to a phone, PanPhon (Mortensen et al.,
COLING 2016) has no feature for it, and PanPhon's segmentation, by which PRiSM counts phones, drops its marks. Tones stay: PanPhon
knows the letters ˥ to ˩, each a segment of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

VERSION = "1"  # raise it when a phone may be written otherwise

_NUM_LOOKED_AT = 1000  # texts
_MOST_LETTERS = 3.0  # of a phone on average; IPA has about 1, ARPAbet less than 2
TIE = "\u0361"
TONES = frozenset("˥˦˧˨˩")
_VOWELS = frozenset("iyɨʉɯuɪʏʊeøɘɵɤoəɛœɜɞʌɔæɐaɶɑɒ")
# Other code points for the same sign. PRiSM writes ɡ for g, too; the rest are letters that IPA has given up or made of two.
_SAME = str.maketrans(
    {
        "g": "ɡ", "ɚ": "ə˞", "ɝ": "ɜ˞", "ᵻ": "ɪ\u0308", "ε": "ɛ", ":": "ː", "\u035c": TIE,
        "ʣ": f"d{TIE}z", "ʤ": f"d{TIE}ʒ", "ʥ": f"d{TIE}ʑ", "ʦ": f"t{TIE}s", "ʧ": f"t{TIE}ʃ", "ʨ": f"t{TIE}ɕ",
    }
)  # fmt: skip
_LENGTH_BEFORE_MARK = re.compile("([ːˑ]+)([\u0300-\u0360\u0362-\u036f]+)")
_PRENASAL = frozenset("ᵐⁿᵑ")
_NO_PHONE = frozenset("ˈˌ.‿|‖/")  # stress, syllables, linking, groups, slashes around a transcription
_IPA_STRESS = str.maketrans("", "", "ˈˌ")
_ARPABET_STRESS = re.compile(r"^([A-Z]+)[0-2]$")


def phones(text: str, *, renamed: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """The phones of a text that has spaces between them, each in its one spelling and without stress. Sets of phones other than
    IPA (`AH0 SH`, `sh`) are only relieved of ARPAbet's digits of stress.

    Args:
        renamed: phone (`canonical`) -> what stands in its place. One with its stress goes before one without.
    """
    found: list[str] = []
    for token in map(canonical, text.split()):
        plain = without_stress(token)
        found += (renamed or {}).get(token) or (renamed or {}).get(plain) or [plain] * bool(plain)
    return found


def canonical(phone: str) -> str:
    """The one spelling of what IPA may write in several ways: decomposed (NFD), ɡ for g, a tie bar above for one below and in
    ligatures (ʧ), length after other marks. Phones of another set stay."""
    return phone if is_of_another_set(phone) else _spelled(phone)


def is_of_another_set(phone: str) -> bool:
    """Whether a phone is several letters of ASCII (`sh`, `AH`), which is no way to write one in IPA."""
    return phone.isascii() and len(phone) > 1


def _spelled(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text).translate(_SAME)
    return _LENGTH_BEFORE_MARK.sub(r"\2\1", decomposed)


def without_stress(phone: str) -> str:
    """The phone without its stress mark: `AH0` is `AH`, `ˈa` is `a`. Digits of tones (`a1`) stay."""
    return _ARPABET_STRESS.sub(r"\1", phone.translate(_IPA_STRESS))


def split(ipa: str) -> list[str]:
    """The phones of a transcription in IPA that has no spaces between them (those between words may be there).

    Marks and modifier letters belong to the letter before them; at the beginning of a word, and of a raised nasal after a vowel
    (aⁿd), to the one after. A tie bar makes one phone of two different consonants (t͡ʃ, k͡p); two vowels under it are two phones,
    as are geminates, since PanPhon has no features for a diphthong. An h that is tied to a consonant is its aspiration
    (espeak-ng's Korean). Without a tie bar tʃ is two phones. A tone letter is a phone of its own.
    """
    return [phone for word in ipa.split() for phone in _phones_of(_spelled(word))]


def words_among(texts: Iterable[str]) -> str:
    """What shows that texts are words and no phones with spaces between them (`'guten', 4.0 letters between spaces on average`);
    empty where nothing does. The first 1,000 are looked at."""
    tokens = [token for text in islice(texts, _NUM_LOOKED_AT) for token in text.split()]
    letters = sum(unicodedata.category(sign) in ("Ll", "Lo", "Lu") for token in tokens for sign in token)
    if letters <= _MOST_LETTERS * len(tokens):
        return ""
    return f"'{max(tokens, key=len)}', {letters / len(tokens):.1f} letters between spaces on average"


def is_ipa(symbols: Iterable[str]) -> bool:
    """Whether phones are made of nothing but letters, marks and tone letters: no digit, capital or other sign of ASCII."""
    kinds = {unicodedata.category(sign) for symbol in symbols for sign in symbol if sign not in TONES | {"˞"}}
    return kinds <= {"Ll", "Lo", "Lm", "Mn"}


def is_modifier(sign: str) -> bool:
    """Whether a code point changes the letter that it stands beside."""
    return sign == "˞" or unicodedata.category(sign) in ("Lm", "Mn")


def _phones_of(word: str) -> list[str]:
    found: list[str] = []
    waiting, tied = "", False
    for sign in word:
        last = _letter(found[-1]) if found else ""
        if sign in _NO_PHONE:
            continue
        if sign == TIE:
            tied = bool(found)
        elif is_modifier(sign):
            if not found or (sign in _PRENASAL and last in _VOWELS):
                waiting += sign
            elif not found[-1].endswith(sign):  # espeak-ng writes ʲʲ
                found[-1] += sign
        else:
            if tied and sign == "h" and last not in _VOWELS:
                found[-1] += "ʰ"
            elif tied and last != sign and not {last, sign} & _VOWELS:
                found[-1] += TIE + sign
            else:
                found.append(waiting + sign)
                waiting = ""
            tied = False
    return [*found[:-1], "".join(found[-1:]) + waiting] if waiting else found


def _letter(phone: str) -> str:
    """The last letter of a phone."""
    return next((sign for sign in reversed(phone) if not is_modifier(sign)), "")
