"""Counts of single utterances as ESPnet's `asr.sh` and sclite take them; protocols v1 and v2 add them up.

- The reference is normalised, runs of whitespace become one space, spaces count.
- Of ASR+LID, the language tokens are deleted and the space after them stays: both sides of most utterances begin with a
  space, which counts as a character.
- Nothing but that is done to the hypothesis: a decoded `<unk>` is five characters.
- sclite ignores the case of ASCII letters (no `-s` and no `-e` in ESPnet's call; `src/sclite/{sclite,text}.c`). As the
  normaliser writes capitals, that only matters for `<unk>` (its `u` matches a `U`) and for phonemes.
- The predicted language is the first `[xxx]` of the raw hypothesis (`local/split_results.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from mlsuperb.data.text import first_language, normaliser
from mlsuperb.scoring.alignment import Edits, Units, edit_counts
from mlsuperb.scoring.counts import Counts
from mlsuperb.types import Hypothesis

TaskName = Literal["asr", "lid", "asr_lid"]
UnitName = Literal["char", "phoneme"]

_LANGUAGE_TOKEN = re.compile(r"\[[a-z]{3}(?:_[a-z]{3})?\]")
_NO_EDITS = Edits(0, 0, 0)


def utterance_counts(
    hypotheses: Sequence[Hypothesis], *, task: TaskName, normaliser: str = "v1", units: UnitName = "char"
) -> list[Counts]:
    """The counts of each utterance.

    Raises:
        ValueError: unknown normaliser, or phonemes that cannot be had.
    """
    edits: Iterable[Edits] = (_NO_EDITS for _ in hypotheses)
    references: Sequence[Units] = [""] * len(hypotheses)
    if task != "lid":
        references, outputs = compared_units(hypotheses, task=task, normaliser=normaliser, units=units)
        edits = edit_counts(references, outputs)
    return [
        Counts(
            num_utterances=1,
            substitutions=edit.substitutions,
            insertions=edit.insertions,
            deletions=edit.deletions,
            reference_length=len(reference),
            lid_correct=int(task != "asr" and first_language(one.hypothesis) == one.language),
            lid_total=int(task != "asr"),
        )
        for one, edit, reference in zip(hypotheses, edits, references, strict=True)
    ]


def compared_units(
    hypotheses: Sequence[Hypothesis], *, task: TaskName, normaliser: str = "v1", units: UnitName = "char"
) -> tuple[list[Units], list[Units]]:
    """References and hypotheses as they are aligned: characters or lists of phonemes, ASCII in lower case."""
    texts = [compared_texts(one, task=task, normaliser=normaliser, units=units) for one in hypotheses]
    folded = [[_lower_ascii(text) for text in pair] for pair in texts]
    if units == "phoneme":
        return [reference.split() for reference, _ in folded], [output.split() for _, output in folded]
    return [reference for reference, _ in folded], [output for _, output in folded]


def compared_texts(
    one: Hypothesis, *, task: TaskName, normaliser: str = "v1", units: UnitName = "char"
) -> tuple[str, str]:
    """Reference and hypothesis of one utterance as they are compared, in their own case."""
    reference = " ".join(_normalise(one.reference, normaliser).split())
    output = " ".join(one.hypothesis.split())
    if units == "phoneme":
        from mlsuperb.data.phonemes import to_phonemes  # an extra

        return to_phonemes(reference, one.language), output
    if task == "asr_lid":
        return (f" {reference}" if reference else ""), _LANGUAGE_TOKEN.sub("", output)
    return reference, output


def _lower_ascii(text: str) -> str:
    """The letters A to Z in lower case, and no others: in UTF-8, bytes below 128 stand for nothing else."""
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _normalise(text: str, name: str) -> str:
    return normaliser(name)(text)
