"""Counts of single utterances as ESPnet's `asr.sh` and sclite take them; protocols v1 and v2 add them up.

- The reference is normalised, runs of whitespace become one space, spaces count.
- Of ASR+LID, the language tokens are deleted and the space after them stays: both sides of most utterances begin with a
  space, which counts as a character.
- Nothing but that is done to the hypothesis: a decoded `<unk>` is five characters.
- `@` is sclite's word for nothing: it costs nothing, on either side (`wwd_WORD` in `src/sclite/word.c`). Only texts that keep
  punctuation have it (`normaliser=raw`, imported models). `{ a / b }`, alternatives to sclite, are compared as they stand here,
  with a warning.
- Phones (`data.phones.ipa`) are compared as they are: neither `@` nor case has a meaning among them.
- sclite ignores the case of ASCII letters (no `-s` and no `-e` in ESPnet's call; `src/sclite/{sclite,text}.c`). As the
  normaliser writes capitals, that only matters for `<unk>` (its `u` matches a `U`) and for phonemes.
- The predicted language is the first language token of the raw hypothesis (`local/split_results.py`): `[xxx]`, or `[code]` for
  any other code that the file has (`language_tokens`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from mlsuperb.data.phones.ipa import phones, words_among
from mlsuperb.data.text import LanguageTokens, normaliser
from mlsuperb.data.vocabulary import unknown_among
from mlsuperb.scoring.alignment import Edits, Units, edit_counts, fewest_edits
from mlsuperb.scoring.counts import Counts
from mlsuperb.types import Hypothesis, TaskFacts

log = logging.getLogger(__name__)
_NO_EDITS = Edits(0, 0, 0)
_NOTHING, _ALTERNATIVES = "@", "{"  # to sclite


def num_empty(hypotheses: Iterable[Hypothesis]) -> int:
    """How many hypotheses are without any output, text or language."""
    return sum(not one.hypothesis.strip() for one in hypotheses)


def language_tokens(hypotheses: Iterable[Hypothesis]) -> LanguageTokens:
    """The tokens by which hypotheses name languages: those of all references and of all predictions."""
    codes = {code for one in hypotheses for code in (one.language, one.predicted_language)}
    return LanguageTokens(code for code in codes if code)


def shown_counts(hypotheses: Sequence[Hypothesis], facts: TaskFacts) -> list[Counts]:
    """The counts of each utterance for comparisons and pages: of phones with the fewest edits, as `per_pfer` counts them, so that
    they add up to its PER; of other units as `v1` counts them (`utterance_counts`)."""
    return utterance_counts(hypotheses, facts, align=fewest_edits if facts.units == "phone" else edit_counts)


def shown_protocol(facts: TaskFacts) -> str:
    """Whose error rate `shown_counts` add up to."""
    return "protocol per_pfer" if facts.units == "phone" else "protocol v1"


def utterance_counts(
    hypotheses: Sequence[Hypothesis], facts: TaskFacts, *, align: Callable[..., list[Edits]] = edit_counts
) -> list[Counts]:
    """The counts of each utterance.

    Args:
        align: counts the edits between lists of references and hypotheses.

    Raises:
        ValueError: unknown normaliser, or phonemes that cannot be had.
    """
    edits: Iterable[Edits] = (_NO_EDITS for _ in hypotheses)
    references: Sequence[Units] = [""] * len(hypotheses)
    tokens = language_tokens(hypotheses)
    if facts.has_text:
        pairs = [aligned_units(one, facts, tokens) for one in hypotheses]
        references = [reference for reference, _ in pairs]
        if num_braces := sum(_ALTERNATIVES in reference or _ALTERNATIVES in output for reference, output in pairs):
            log.warning(
                "%d of %d utterances hold a brace, which sclite would read as the beginning of alternatives ({ a / b }); here "
                "it is a character like others, so their error counts may not be sclite's",
                num_braces,
                len(pairs),
            )
        edits = align(references, [output for _, output in pairs])
    return [
        Counts(
            num_utterances=1,
            substitutions=edit.substitutions,
            insertions=edit.insertions,
            deletions=edit.deletions,
            reference_length=len(reference),
            lid_correct=int(facts.has_language and tokens.first(one.hypothesis) == one.language),
            lid_total=int(facts.has_language),
        )
        for one, edit, reference in zip(hypotheses, edits, references, strict=True)
    ]


def refuse_words(hypotheses: Sequence[Hypothesis], facts: TaskFacts) -> None:
    """
    Raises:
        ValueError: phones are to be compared, and the references or the hypotheses are words.
    """
    if facts.units != "phone":
        return
    tokens = language_tokens(hypotheses)
    pairs = [compared_texts(one, facts, tokens) for one in hypotheses]
    for number, side in enumerate(("references", "hypotheses")):
        if found := words_among(pair[number] for pair in pairs):
            raise ValueError(
                f"units are phones, but the {side} are words and no phones ({found}): put spaces between the phones, or compare "
                "characters (units char)"
            )


def unknown_units(hypotheses: Sequence[Hypothesis], facts: TaskFacts, tokens: Collection[str] | None) -> str:
    """A sentence where much of the references cannot be right whatever the system does, as with another set of phones or another
    script; else an empty string.

    Args:
        tokens: those of the model. None where they are not known: then those that occur in hypotheses, and half of the
            references, as a system may have learnt little.
    """
    if not facts.has_text:
        return ""
    languages = language_tokens(hypotheses)
    pairs = [aligned_units(one, facts, languages) for one in hypotheses]
    references = Counter(unit for reference, _ in pairs for unit in reference if not unit.isspace())
    known = (
        {unit for _, output in pairs for unit in output}
        if tokens is None
        else set(map(_lower_ascii, tokens)) | set(tokens)
    )
    what, most = f"{facts.unit}s", 0.5 if tokens is None else 0.1
    if not (found := unknown_among(references, known, what=what, most=most)):
        return ""
    where = "occur in no hypothesis" if tokens is None else "are no tokens of the model"
    return f"{found} {where}: are references and hypotheses in one script or set of phones?"


def aligned_units(one: Hypothesis, facts: TaskFacts, tokens: LanguageTokens) -> tuple[Units, Units]:
    """Reference and hypothesis as they are aligned, ASCII in lower case, without `@`; phones as they are."""
    if facts.units == "phone":
        return compared_units(one, facts, tokens)
    reference, output = map(_lower_ascii, compared_texts(one, facts, tokens))
    if facts.units == "char":
        return reference.replace(_NOTHING, ""), output.replace(_NOTHING, "")
    words, spoken = ([unit for unit in text.split() if unit != _NOTHING] for text in (reference, output))
    return words, spoken


def compared_units(one: Hypothesis, facts: TaskFacts, tokens: LanguageTokens) -> tuple[Units, Units]:
    """Reference and hypothesis as they are shown: characters, or what spaces part (phonemes, words), in their own case."""
    reference, output = compared_texts(one, facts, tokens)
    return (reference.strip(), output.strip()) if facts.units == "char" else (reference.split(), output.split())


def compared_texts(one: Hypothesis, facts: TaskFacts, tokens: LanguageTokens) -> tuple[str, str]:
    """Reference and hypothesis of one utterance as they are compared, in their own case. `tokens`: `language_tokens` of all
    hypotheses that it is one of."""
    if facts.units == "phone":
        output = tokens.removed(one.hypothesis) if facts.has_language else one.hypothesis
        return " ".join(phones(tokens.removed_at_start(one.reference))), " ".join(phones(output))
    reference = " ".join(normaliser(facts.normaliser)(one.reference).split())
    output = " ".join(one.hypothesis.split())
    if facts.units == "phoneme":
        from mlsuperb.data.phonemes import to_phonemes  # an extra

        return to_phonemes(reference, one.language), output
    if facts.has_language:
        return (f" {reference}" if reference else ""), tokens.removed(output)
    return reference, output


def _lower_ascii(text: str) -> str:
    """The letters A to Z in lower case, and no others: in UTF-8, bytes below 128 stand for nothing else."""
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
