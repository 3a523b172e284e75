"""Transcript normalisation as the benchmarks do it. A normaliser's name and version are stored with every result."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable

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


_IN_WORDS = re.compile(
    "['’‘ʼ`´\\-‐‑]"
)  # apostrophes and hyphens, in the signs that transcripts and ASR models write them with


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


_LANGUAGE = re.compile(r"\[([a-z]{3})\]")
_TWO_PART_LANGUAGE = re.compile(r"\[([a-z]{3}_[a-z]{3})\]")


def first_language(hypothesis: str) -> str | None:
    """The language a raw hypothesis names, as ML-SUPERB's `local/lid.py` finds it: the first `[xxx]`; codes of two parts
    (`[org_jpn]`) are looked at only where there is none; None where there is neither."""
    match = _LANGUAGE.search(hypothesis) or _TWO_PART_LANGUAGE.search(hypothesis)
    return match.group(1) if match else None
