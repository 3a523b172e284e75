"""A hypothesis under its reference, grapheme by grapheme, for reading.

The edits are for the eye: they count what a reader sees as one character (a base with its marks), with the fewest edits;
scores count code points by sclite's weights (`mlsuperb.scoring.alignment`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, zip_longest
from typing import Literal

from mlsuperb.analysis.report.blocks import Aligned, Piece
from mlsuperb.scoring.marking import marked

MAX_WORD = 20  # pieces that stay on one line: they fit a phone
MAX_UNITS = 1500  # of a reference or hypothesis that are shown
MAX_INSERTED = 40  # characters at a place of a script whose letters join; of more, the beginning is shown
# Scripts whose letters join, by the first word of their characters' names: cut into columns they would fall apart
JOINED = ("ARABIC", "SYRIAC", "MONGOLIAN", "NKO", "MANDAIC", "ADLAM", "PHAGS-PA", "HANIFI")


# Unicode's Indic_Syllabic_Category=Invisible_Stacker: what follows is written below what is before
STACKERS = frozenset("\u1039\u17d2\u1a60\uaaf6\U00010a3f\U00011133\U000113d0\U0001193e\U00011a47\U00011a99\U00011f42")


def graphemes(text: str) -> list[str]:
    """Extended grapheme clusters (UAX #29), and two more things that a reader does not take apart: vowels of Burmese and
    its neighbours that are written beside their base (spacing marks that UAX #29 lets stand alone), and consonants stacked below
    others. So no mark is split from its base."""
    import regex  # comes with transformers

    clusters: list[str] = []
    for cluster in regex.findall(r"\X", text):
        goes_on = unicodedata.category(cluster[0]) == "Mc" or (clusters and clusters[-1][-1] in STACKERS)
        if clusters and goes_on and not clusters[-1].isspace():
            clusters[-1] += cluster
        else:
            clusters.append(cluster)
    return clusters


def align(reference: str, hypothesis: str, *, units: str = "char", who: str = "", facts: str = "") -> Aligned:
    """`units`: `char`, or what spaces part (`phoneme`, `phone`). Very long texts are cut, and `facts` says so."""
    between = "" if units == "char" else " "
    sides = [graphemes(text) if units == "char" else text.split() for text in (reference, hypothesis)]
    if any(len(side) > MAX_UNITS for side in sides):
        sides = [side[:MAX_UNITS] for side in sides]
        named = "characters" if units == "char" else f"{units}s"
        facts = f"{facts}; only the first {MAX_UNITS} {named} are shown".lstrip("; ")
    joined = is_joined(reference or hypothesis)
    pieces = _pieces(*sides)
    words = tuple(
        tuple(_merged(word, between) if joined else word)
        for word in _words(_shortened(pieces) if joined else pieces, spaced=units != "char", joined=joined)
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


def stretches(reference: str, hypothesis: str, *, units: str = "char") -> list[str | list[str | int]]:
    """The alignment of `align` in short: a text that both sides have, or `[reference, hypothesis]`, or `[reference, hypothesis,
    characters left out]`. Phonemes keep their spaces."""
    sides = [
        (graphemes(text) if units == "char" else [f"{unit} " for unit in text.split()])[:MAX_UNITS]
        for text in (reference, hypothesis)
    ]
    joined = is_joined(reference or hypothesis)
    found: list[str | list[str | int]] = []
    for stretch in marked(*sides):
        output = stretch.hypothesis
        left_out = (
            len(output) - MAX_INSERTED // 2
            if joined and stretch.kind == "inserted" and len(output) > MAX_INSERTED
            else 0
        )
        texts = "".join(stretch.reference), "".join(output[: len(output) - left_out])
        found.append(texts[0] if stretch.kind == "equal" else [*texts, *([left_out] if left_out else [])])
    return found


def direction(text: str) -> Literal["ltr", "rtl"]:
    """Direction of the first strong character (rule P2 of Unicode's UAX #9)."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("R", "AL"):
            return "rtl"
        if kind == "L":
            return "ltr"
    return "ltr"


def is_joined(text: str) -> bool:
    """Whether there are letters of a script that joins them."""
    return any(unicodedata.name(c, "").startswith(JOINED) for c in set(text) if c.isalpha())


def _pieces(reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[Piece]:
    """One piece per unit."""
    for stretch in marked(reference, hypothesis):
        for one, other in zip_longest(stretch.reference, stretch.hypothesis, fillvalue=""):
            yield Piece(reference=one, hypothesis=other, mark=stretch.kind)


def _shortened(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """With the beginning of long insertions only: as they cannot be broken into columns, they would push the reference and the
    hypothesis apart."""
    for mark, group in groupby(pieces, key=lambda piece: piece.mark):
        found = list(group)
        if mark != "inserted" or len(found) <= MAX_INSERTED:
            yield from found
            continue
        kept = found[: MAX_INSERTED // 2]
        yield from kept[:-1]
        yield replace(kept[-1], left_out=len(found) - len(kept))


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
        sides = ((piece.reference, piece.hypothesis, piece.left_out) for piece in group)
        references, hypotheses, (*_, left_out) = zip(*sides, strict=True)
        text, other = between.join(references), between.join(hypotheses)
        yield Piece(reference=text, hypothesis=other, mark=mark, left_out=left_out)
