"""The 2025 challenge as the server behind its Dynabench leaderboard scored it; see `challenge` for both forms."""

from __future__ import annotations

import re

from mlsuperb.scoring.protocols.challenge import (
    DIALECT_SPLIT,
    Challenge,
    Languages,
    Pair,
    joined,
    language_of,
    reference_of,
)
from mlsuperb.types import Hypothesis

# The server's own list: ASCII punctuation without + = | `
_PUNCTUATION = re.compile("[" + re.escape("!()-[]{};:'\"\\,<>./?@#$%^&*_~") + "]+")


class ChallengeServer(Challenge):
    """The same six numbers. Languages without a reference are left out of the means (and counted), as the server does."""

    name = "challenge_server"
    version = "2"  # since 2, white space in dialect references counts as it stands
    title = "2025 challenge, as its server scored"
    leave_out_unscored = True

    def pair(self, one: Hypothesis, known: Languages) -> Pair:
        """An utterance as it is compared."""
        language = language_of(one)

        def normalise(text: str) -> str:
            return _PUNCTUATION.sub("", joined(text, language)).upper()

        predicted, _, text = one.hypothesis.partition(" ")
        reference = reference_of(one, known.tokens)
        if one.split == DIALECT_SPLIT:  # as it stands in the data, with the language in front
            reference = f"[{language}]{'' if reference != one.reference else ' '}{reference}".strip()
        else:
            reference = " ".join(reference.split())
        return Pair(
            normalise(reference),
            normalise(" ".join(text.split()[1:])),
            language_right=predicted.strip("[]") == language,
        )


protocol = ChallengeServer()
