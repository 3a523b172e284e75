"""Where a hypothesis differs from its reference, for people to look at.

The edits are for the eye: as few as possible. Scores count by sclite's weights (`mlsuperb.scoring.alignment`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Levenshtein

Kind = Literal["equal", "substituted", "deleted", "inserted"]
_KINDS: dict[str, Kind] = {"equal": "equal", "replace": "substituted", "delete": "deleted", "insert": "inserted"}


@dataclass(frozen=True)
class Piece:
    """A stretch of both sides, in units (characters of a string, or words); empty on the side where it is missing."""

    reference: Sequence[str]
    hypothesis: Sequence[str]
    kind: Kind


def marked(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Piece]:
    """Both sides cut where one kind of edit ends and another begins."""
    return [
        Piece(reference[one.src_start : one.src_end], hypothesis[one.dest_start : one.dest_end], _KINDS[one.tag])
        for one in Levenshtein.opcodes(reference, hypothesis)
    ]


def joined(units: Sequence[str]) -> str:
    """Units as a text: characters close up, words and phonemes are parted by spaces."""
    return units if isinstance(units, str) else " ".join(units)
