"""Which characters or phones are taken for which: the confusion pairs of sclite's report, of all languages together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import pandas as pd
from rapidfuzz.distance import Levenshtein

from mlsuperb.data.text import normaliser
from mlsuperb.scoring.utterances import aligned_units, language_tokens
from mlsuperb.types import Hypothesis, TaskFacts

COLUMNS = ["reference", "hypothesis", "num", "share", "languages"]


def unit_errors(hypotheses: Sequence[Hypothesis], facts: TaskFacts) -> pd.DataFrame:
    """One row per kind of edit, the most frequent first, as few edits as turn each reference into its hypothesis: the unit of the
    reference (empty where one was inserted) and of the hypothesis (empty where it was deleted), how often, in % of the unit's
    occurrences in the references (NaN for insertions), and the languages where it occurs, those with most first.

    Letters of ASCII, whose case sclite does not know, are written as the task's normaliser writes them.

    Args:
        facts: of a task with transcripts.
    """
    tokens = language_tokens(hypotheses)
    occurrences: Counter[str] = Counter()
    edits: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in hypotheses:
        reference, output = aligned_units(one, facts, tokens)
        occurrences.update(reference)
        for edit in Levenshtein.editops(reference, output):
            before = "" if edit.tag == "insert" else reference[edit.src_pos]
            after = "" if edit.tag == "delete" else output[edit.dest_pos]
            edits[before, after][one.language] += 1
    rows = [
        (
            *(_written(unit, facts) for unit in pair),
            languages.total(),
            _share(languages.total(), occurrences.get(pair[0])),
            [*dict(languages.most_common())],
        )
        for pair, languages in edits.items()
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(["num", "reference", "hypothesis"], ascending=[False, True, True], ignore_index=True)


def _written(unit: str, facts: TaskFacts) -> str:
    if facts.units == "char" and unit.isascii():
        return normaliser(facts.normaliser)(unit) or unit
    return unit


def _share(num: int, occurrences: int | None) -> float:
    return 100 * num / occurrences if occurrences else float("nan")
