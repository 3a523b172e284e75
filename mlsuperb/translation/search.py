"""Settings of how a translator's output is searched for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt


@dataclass(kw_only=True)
class Search:
    """Settings of beam search (transformers' `generate`).

    Args:
        num_beams: hypotheses that are kept; 1 is greedy.
        max_tokens: the most tokens that are written after the prefix.
        length_penalty: the score of a hypothesis is divided by its length to this power.
        language: `given` forces the language of each utterance; `predicted` leaves it to the model, which then names it.
        num_translations: pairs of the parallel text, taken at equal distances, that are translated and scored after the
            training; 0: none.
    """

    not_science: ClassVar = ("num_translations",)

    num_beams: PositiveInt = 5
    max_tokens: PositiveInt = 200
    length_penalty: PositiveFloat = 1.0
    language: Literal["given", "predicted"] = "given"
    num_translations: NonNegativeInt = 100
