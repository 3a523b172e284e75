"""Phonemes for the two languages whose monolingual ML-SUPERB runs are scored in them (espnet PR #4913)."""

from __future__ import annotations

import re
from importlib.util import find_spec

PHONEME_LANGUAGES = {"jpn": "pyopenjtalk", "cmn": "pypinyin"}

_INITIAL = re.compile("zh|ch|sh|[bpmfdtnlgkhjqxrzcs]")
# How finals are written in full (Scheme for the Chinese Phonetic Alphabet, 1958), in the order in which pypinyin takes the rules
_IN_FULL = [
    (re.compile("^yu"), "ü"),
    (re.compile("^yi"), "i"),
    (re.compile("^y"), "i"),
    (re.compile("^wu"), "u"),
    (re.compile("^w"), "u"),
    (re.compile("^([jqx])u"), r"\1ü"),
    (re.compile("^([a-z]+)iu$"), r"\1iou"),
    (re.compile("([a-z]+)ui$"), r"\1uei"),
    (re.compile("([a-z]+)un$"), r"\1uen"),
]


def missing_extra(language: str) -> str | None:
    """What to do if phonemes of `language` cannot be had here, else None."""
    package = PHONEME_LANGUAGES.get(language)
    if package is None:
        return f"no phonemes are defined for language {language!r}, only for {', '.join(PHONEME_LANGUAGES)}"
    if find_spec(package) is None:
        return f"phonemes of {language!r} need the package {package}: pip install 'mlsuperb[phonemes]'"
    return None


def to_phonemes(text: str, language: str) -> str:
    """Phonemes of `text` (normalised), separated by spaces.

    `jpn`: pyopenjtalk's g2p, pauses included. `cmn`: initials and finals of the syllables that pypinyin finds, the tone as a
    digit after the final, as ESPnet's `pypinyin_g2p_phone` makes them of `Style.TONE3` with the pypinyin 0.44 that it asks for
    (later versions lose finals there). What is no syllable (punctuation, foreign letters) is a phone as it stands; numbers are
    none.

    Raises:
        ValueError: the language has no phonemes here, or the extra `phonemes` is not installed.
    """
    if problem := missing_extra(language):
        raise ValueError(problem)
    if language == "jpn":
        return _japanese(text)
    from pypinyin import Style, pinyin

    return " ".join(part for readings in pinyin(text, style=Style.TONE3) for part in _phones(readings[0]))


def _japanese(text: str) -> str:
    import pyopenjtalk

    try:
        return str(pyopenjtalk.g2p(text))
    except OSError as error:
        raise ValueError(
            f"pyopenjtalk fetches its dictionary when it is first used, and could not ({error}). Use it once with a network, "
            "or install pyopenjtalk-plus in its place, which brings a dictionary of its own: some readings differ, and "
            "the run is no official one"
        ) from error


def _phones(segment: str) -> list[str]:
    """Of a syllable or of what stands between syllables: `zhong1` becomes `zh`, `ong1`."""
    found = _INITIAL.match(segment)
    initial = found.group() if found else ""
    rest = segment
    if segment[-1].isalnum():
        tone = segment[-1] if segment[-1].isdigit() else ""
        rest = _final(segment.removesuffix(tone)) + tone
    return [part for part in (initial, rest) if part and not part.isdigit()]


def _final(syllable: str) -> str:
    """`xue` has `üe`, `liu` has `iou`; ü after n and l stays pypinyin's `v`."""
    for written, full in _IN_FULL:
        syllable = written.sub(full, syllable)
    found = _INITIAL.match(syllable)
    return syllable[found.end() :] if found else syllable
