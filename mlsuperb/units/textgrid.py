"""Praat's TextGrid files, long and short form, in UTF-8 or UTF-16."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

# Praat takes from a text file strings in double quotes (a quote in them is doubled), flags in angle brackets and numbers that
# stand alone, and skips everything else: so both forms are the same sequence of values ("TextGrid file formats" of its manual).
_VALUE = re.compile(r'"((?:[^"]|"")*)"|<(\w+)>|(?<!\S)([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)|![^\n]*')
_INTERVALS, _POINTS = "IntervalTier", "TextTier"


def read_tier(path: Path, name: str) -> list[tuple[float, float, str]]:
    """(start, end, text) of each interval of a tier, in seconds.

    Raises:
        ValueError: the file is no TextGrid or is cut off, or has no interval tier of this name.
    """
    values = _values(_text(path))
    if [*islice(values, 2)] != ["ooTextFile", "TextGrid"]:
        raise ValueError(f"{path} is no TextGrid in text form. Save it in Praat as a text file or a short text file")
    try:
        tiers = list(_tiers(values))
    except (RuntimeError, ValueError) as error:  # RuntimeError: what a generator makes of StopIteration
        raise ValueError(f"{path} is no sound TextGrid: it is cut off, or values are missing. Save it again") from error
    found = [intervals for tier, intervals in tiers if tier == name]
    if len(found) != 1:
        raise ValueError(
            f"{path} has {len(found) or 'no'} interval tier{'s' * bool(found)} '{name}'; it has "
            f"{', '.join(repr(tier) for tier, _ in tiers) or 'none'}. Name the tier of the phones (--tier)"
        )
    return found[0]


def _tiers(values: Iterator[str]) -> Iterator[tuple[str, list[tuple[float, float, str]]]]:
    """(name, intervals) of each interval tier; tiers of points are passed over."""
    next(values), next(values)  # where the file begins and ends
    if next(values) != "exists":
        return
    for _ in range(int(next(values))):
        kind, name, *_ = (next(values) for _ in range(4))  # and where the tier begins and ends
        num_entries = int(next(values))
        if kind == _POINTS:
            for _ in range(2 * num_entries):
                next(values)
            continue
        yield name, [(float(next(values)), float(next(values)), next(values).strip()) for _ in range(num_entries)]


def _values(text: str) -> Iterator[str]:
    for match in _VALUE.finditer(text):
        string, flag, number = match.groups()
        if string is not None:
            yield string.replace('""', '"')
        elif flag or number:
            yield flag or number


def _text(path: Path) -> str:
    raw = path.read_bytes()
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is neither UTF-8 nor UTF-16 ({error}). Save it in one of them") from error
