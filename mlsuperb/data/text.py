"""Transcript normalisation as the benchmarks do it. A normaliser's name and version are stored with every result."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable

_BRACKETS = re.compile(r"\[[^()]*\]")  # greedy: from the first `[` to the last `]` with no parenthesis between
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]+")  # `str.translate` looks every letter up


def raw(text: str) -> str:
    """The transcript as it is."""
    return text


def v1(text: str) -> str:
    """ML-SUPERB multilingual tracks (ESPnet `egs2/ml_superb/asr1/local/data_prep.py`): bracketed stretches out, ASCII
    punctuation out, upper case. Everything else stays: no Unicode normalisation, no other punctuation."""
    return _PUNCTUATION.sub("", _BRACKETS.sub("", text)).upper()


def v1_mono(text: str) -> str:
    """ML-SUPERB monolingual track (`single_lang_data_prep.py`): like `v1`, but brackets lose only their signs."""
    return _PUNCTUATION.sub("", text).upper()


# apostrophes and hyphens, in the signs that transcripts and ASR models write them with
_IN_WORDS = re.compile("['’‘ʼ`´\\-‐‑]")


def spoken(text: str) -> str:
    """What can be heard, for both sides where the hypothesis comes from an ASR model that writes punctuation: lower case,
    apostrophes and hyphens out, every other punctuation mark or symbol a space (Unicode categories P and S), NFC. Letters keep
    their marks, unlike in Whisper's own normaliser, which breaks the scripts of India."""
    kept = _IN_WORDS.sub("", unicodedata.normalize("NFC", text)).lower()
    return " ".join("".join(" " if unicodedata.category(one)[0] in "PS" else one for one in kept).split())


NORMALISERS: dict[str, Callable[[str], str]] = {"raw": raw, "v1": v1, "v1_mono": v1_mono, "spoken": spoken}
VERSIONS = {"raw": "1", "v1": "1", "v1_mono": "1", "spoken": "1"}


def normaliser(name: str) -> Callable[[str], str]:
    """The normaliser called `name`.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in NORMALISERS:
        raise ValueError(f"unknown text normaliser {name!r}; choose one of {', '.join(NORMALISERS)}")
    return NORMALISERS[name]


ML_SUPERB_CODE = re.compile(r"[a-z]{3}(?:_[a-z]{3})?")  # `eng`, `org_jpn`
_TWO_PART_LANGUAGE = re.compile(r"\[([a-z]{3}_[a-z]{3})\]")


class LanguageTokens:
    """The language tokens of raw outputs: `[code]` for every code of a run or of a file of hypotheses, and whatever has the form
    of ML-SUPERB's tokens, `[xxx]` or `[xxx_yyy]`, by which its own scripts find them.

    Args:
        codes: of any form (`eng`, `en`, `zh-CN`).
    """

    def __init__(self, codes: Iterable[str]) -> None:
        others = sorted(code for code in set(codes) if code and not ML_SUPERB_CODE.fullmatch(code))
        listed = "".join(f"|{re.escape(code)}" for code in others)
        self._one_part = re.compile(rf"\[([a-z]{{3}}{listed})\]")
        self._any = re.compile(rf"\[(?:[a-z]{{3}}(?:_[a-z]{{3}})?{listed})\]")

    def first(self, output: str) -> str | None:
        """The language that an output names, as ML-SUPERB's `local/split_results.py` finds it: the first token; those of two
        parts (`[org_jpn]`) are looked at only where there is no other; None where there is none."""
        match = self._one_part.search(output) or _TWO_PART_LANGUAGE.search(output)
        return match.group(1) if match else None

    def removed_at_start(self, text: str) -> str:
        """A text without the language token that it begins with, and without the space before that; else as it is."""
        match = self._any.match(text, len(text) - len(text.lstrip()))
        return text[match.end() :] if match else text

    def removed(self, output: str) -> str:
        """An output without its language tokens; what stands around them stays."""
        return self._any.sub("", output)


def codes_of_tokens(tokens: Iterable[str]) -> list[str]:
    """The codes of the language tokens (`[eng]`) among the tokens that a model can emit."""
    return [token[1:-1] for token in tokens if len(token) > 2 and token[0] == "[" and token[-1] == "]"]
