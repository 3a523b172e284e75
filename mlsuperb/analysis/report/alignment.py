"""A hypothesis under its reference, grapheme by grapheme, for reading.

The edits are for the eye: they count what a reader sees as one character (a base with its marks), with the fewest edits;
scores count code points by sclite's weights (`mlsuperb.scoring.alignment`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest
from typing import Literal

from mlsuperb.analysis.report.blocks import Aligned, Piece
from mlsuperb.scoring.marking import marked

MAX_WORD = 20  # pieces that stay on one line: they fit a phone
MAX_UNITS = 1500  # of a reference or hypothesis that are shown
# Scripts whose letters join, by the first word of their characters' names: cut into columns they would fall apart
JOINED = ("ARABIC", "SYRIAC", "MONGOLIAN", "NKO", "MANDAIC", "ADLAM", "PHAGS-PA", "HANIFI")


def graphemes(text: str) -> list[str]:
    """Extended grapheme clusters (Unicode's UAX #29): no mark is split from its base."""
    import regex  # comes with transformers

    return list(regex.findall(r"\X", text))


def align(reference: str, hypothesis: str, *, units: str = "char", who: str = "", facts: str = "") -> Aligned:
    """`units` is `char` or `phoneme` (parted by spaces). Very long texts are cut, and `facts` says so."""
    between = "" if units == "char" else " "
    sides = [graphemes(text) if units == "char" else text.split() for text in (reference, hypothesis)]
    if any(len(side) > MAX_UNITS for side in sides):
        sides = [side[:MAX_UNITS] for side in sides]
        facts = f"{facts}; only the first {MAX_UNITS} characters are shown".lstrip("; ")
    joined = _is_joined(reference or hypothesis)
    words = tuple(
        tuple(_merged(pieces, between) if joined else pieces)
        for pieces in _words(_pieces(*sides), spaced=units == "phoneme", joined=joined)
    )
    return Aligned(
        who=who,
        direction=direction(reference or hypothesis),
        words=words,
        joined=joined,
        reference=between.join(sides[0]),
        hypothesis=between.join(sides[1]),
        facts=facts,
    )


def direction(text: str) -> Literal["ltr", "rtl"]:
    """Direction of the first strong character (rule P2 of Unicode's UAX #9)."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("R", "AL"):
            return "rtl"
        if kind == "L":
            return "ltr"
    return "ltr"


def _is_joined(text: str) -> bool:
    return any(unicodedata.name(c, "").startswith(JOINED) for c in set(text) if c.isalpha())


def _pieces(reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[Piece]:
    """One piece per unit."""
    for stretch in marked(reference, hypothesis):
        for one, other in zip_longest(stretch.reference, stretch.hypothesis, fillvalue=""):
            yield Piece(reference=one, hypothesis=other, mark=stretch.kind)


def _words(pieces: Iterator[Piece], *, spaced: bool, joined: bool) -> Iterator[list[Piece]]:
    """Cut where both have the same space, else after `MAX_WORD` pieces (of phonemes: after every one); within a joined
    script much later, since a cut changes the shape of letters."""
    limit = 1 if spaced else 4 * MAX_WORD if joined else MAX_WORD
    word: list[Piece] = []
    for piece in pieces:
        word.append(piece)
        if (piece.mark == "equal" and piece.reference.isspace()) or len(word) >= limit:
            yield word
            word = []
    if word:
        yield word


def _merged(pieces: Sequence[Piece], between: str) -> Iterator[Piece]:
    """Neighbours with the same mark become one piece, so that their letters join."""
    for mark, group in groupby(pieces, key=lambda piece: piece.mark):
        references, hypotheses = zip(*((piece.reference, piece.hypothesis) for piece in group), strict=True)
        yield Piece(reference=between.join(references), hypothesis=between.join(hypotheses), mark=mark)
