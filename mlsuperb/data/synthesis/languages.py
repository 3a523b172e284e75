"""The languages of the built-in corpus."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

# ISO 639-3 code -> espeak-ng voice, CLDR locale. Left out of espeak-ng 1.52's languages: those without a dictionary in
# the wheel (fo, kaa), those read letter by letter or as noise (ba, chr, kok, my, shn, th), Hebrew (without vowels),
# Greenlandic (espeak-ng crashes), and those for which CLDR has fewer than `words.MIN_WORDS` words of their own (gn,
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
_STAND_INS = {
    "xty": ("que", "espeak-ng has no Mixtec; Quechua, too, is an American language written in Latin letters"),
}


@dataclass(frozen=True, kw_only=True)
class SpokenLanguage:
    """`code` ISO 639-3, `voice` espeak-ng's name, `locale` CLDR's, `joiner` what stands between written words."""

    code: str
    voice: str
    locale: str
    joiner: str


def available_languages() -> dict[str, str]:
    """Every language that can be spoken: ISO 639-3 code -> espeak-ng voice."""
    return {code: voice for code, (voice, _) in _table().items()}


def stand_in(code: str) -> tuple[str, str] | None:
    """The language that is spoken in place of `code`, and the reason; None where `code` itself can be spoken."""
    return _STAND_INS.get(code)


def spoken_language(code: str) -> SpokenLanguage:
    """How to speak and write the language `code`.

    Raises:
        ValueError: it is not one of `available_languages()`.
    """
    if problem := language_problem(code):
        raise ValueError(problem)
    voice, locale = _table()[code]
    return SpokenLanguage(code=code, voice=voice, locale=locale, joiner="" if code in ("cmn", "jpn", "yue") else " ")


def language_problem(code: str, *, setting: str = "data.languages") -> str | None:
    """A sentence if the built-in corpus cannot speak `code`."""
    table = _table()
    if code in table:
        return None
    near = get_close_matches(code, table, n=3, cutoff=0.3)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    return (
        f"{setting}: the built-in corpus has no language {code!r}.{hint} "
        f"It speaks these {len(table)} (ISO 639-3): {', '.join(table)}."
    )


def _table() -> dict[str, tuple[str, str]]:
    entries = [entry.split() for entry in _VOICE_AND_LOCALE.replace("\n", "|").split("|") if entry]
    return {code: (voice, locale) for code, voice, locale in entries}
