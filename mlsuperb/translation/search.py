"""Settings of how a translator's output is searched for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import PositiveFloat, PositiveInt


@dataclass(kw_only=True)
class Search:
    """Settings of beam search (transformers' `generate`).

    Args:
        num_beams: hypotheses that are kept; 1 is greedy.
        max_tokens: of an output, beside its prefix.
        length_penalty: the score of a hypothesis is divided by its length to this power.
        language: `given` forces the language of each utterance; `predicted` leaves it to the model, which then names it.
    """

    num_beams: PositiveInt = 5
    max_tokens: PositiveInt = 200
    length_penalty: PositiveFloat = 1.0
    language: Literal["given", "predicted"] = "given"
