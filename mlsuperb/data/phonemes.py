"""Phonemes for the two languages whose monolingual ML-SUPERB runs are scored in them (espnet PR #4913)."""

from __future__ import annotations

from importlib.util import find_spec

PHONEME_LANGUAGES = {"jpn": "pyopenjtalk", "cmn": "pypinyin"}


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

    `jpn`: pyopenjtalk's g2p, pauses included. `cmn`: pypinyin initials and finals, the tone as a digit after the final
    (`Style.TONE3`), as ESPnet's `pypinyin_g2p_phone`.

    Raises:
        ValueError: the language has no phonemes here, or the extra `phonemes` is not installed.
    """
    if problem := missing_extra(language):
        raise ValueError(problem)
    if language == "jpn":
        return _japanese(text)
    from pypinyin import Style, pinyin

    return " ".join(part for readings in pinyin(text, style=Style.TONE3) for part in _split_syllable(readings[0]))


def _japanese(text: str) -> str:
    import pyopenjtalk

    try:
        return str(pyopenjtalk.g2p(text))
    except OSError as error:
        raise ValueError(
            f"pyopenjtalk fetches its dictionary when it is first used, and could not ({error}). Use it once with a network, "
            "or install pyopenjtalk-plus in its place, which brings a dictionary (of its own: some readings differ)"
        ) from error


def _split_syllable(syllable: str) -> list[str]:
    """`zhong1` becomes `zh`, `ong1`. What is not a syllable (foreign letters) gives nothing, as in ESPnet."""
    from pypinyin.contrib.tone_convert import to_finals, to_initials

    tone = syllable[-1] if syllable[-1].isdigit() else ""
    plain = syllable.removesuffix(tone)
    initial, final = to_initials(plain, strict=True), to_finals(plain, strict=True)
    return [part for part in (initial, final + tone if final else "") if part]
