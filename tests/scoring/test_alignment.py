"""Edits as sclite counts them, against its dynamic programme written out cell by cell."""

from __future__ import annotations

import random

import pytest
from rapidfuzz.distance import Levenshtein

from mlsuperb.scoring.alignment import Edits, edit_counts


def sclite(reference, hypothesis) -> Edits:
    """One pair by the textbook: costs 4/3/3; diagonal if no dearer than both gaps, deletion only if cheaper."""
    table = {(0, 0): (0, Edits(0, 0, 0))}
    for i in range(1, len(reference) + 1):
        table[i, 0] = (3 * i, Edits(0, 0, i))
    for j in range(1, len(hypothesis) + 1):
        table[0, j] = (3 * j, Edits(0, j, 0))
    for i in range(1, len(reference) + 1):
        for j in range(1, len(hypothesis) + 1):
            wrong = reference[i - 1] != hypothesis[j - 1]
            (d, on), (u, up), (s, side) = table[i - 1, j - 1], table[i - 1, j], table[i, j - 1]
            d, u, s = d + 4 * wrong, u + 3, s + 3
            if d <= u and d <= s:
                table[i, j] = (d, on._replace(substitutions=on.substitutions + wrong))
            elif u < s:
                table[i, j] = (u, up._replace(deletions=up.deletions + 1))
            else:
                table[i, j] = (s, side._replace(insertions=side.insertions + 1))
    return table[len(reference), len(hypothesis)][1]


def random_texts(seed: int, number: int, alphabet: str, longest: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(alphabet, k=rng.randint(0, longest))) for _ in range(number)]


@pytest.mark.parametrize("alphabet", ["ab", "abcdefgh", "aé語\U0001d11e "])
def test_equals_sclite_on_random_pairs(alphabet):
    references, hypotheses = random_texts(0, 400, alphabet, 24), random_texts(1, 400, alphabet, 24)
    found = edit_counts(references, hypotheses)
    assert found == [sclite(*pair) for pair in zip(references, hypotheses, strict=True)]


def test_by_hand():
    #  AB to BA: 2 substitutions cost 8, a deletion and an insertion 6
    assert edit_counts(["AB"], ["BA"]) == [Edits(0, 1, 1)]
    assert edit_counts(["HELLO"], ["HALLO"]) == [Edits(1, 0, 0)]
    assert edit_counts(["", "AB", "", "AB"], ["AB", "", "", "AB"]) == [
        Edits(0, 2, 0),
        Edits(0, 0, 2),
        Edits(0, 0, 0),
        Edits(0, 0, 0),
    ]


def test_more_errors_than_levenshtein_where_that_is_cheaper():
    """abcd to bcde... shifted: weights, not the number of errors, decide; the lengths always add up."""
    references, hypotheses = random_texts(2, 800, "abc", 30), random_texts(3, 800, "abc", 30)
    differing = 0
    for reference, hypothesis, edits in zip(references, hypotheses, edit_counts(references, hypotheses), strict=True):
        assert len(reference) + edits.insertions - edits.deletions == len(hypothesis)
        distance = Levenshtein.distance(reference, hypothesis)
        assert sum(edits) >= distance
        assert 3 * sum(edits) + edits.substitutions == Levenshtein.distance(reference, hypothesis, weights=(3, 3, 4))
        differing += sum(edits) != distance
    assert differing > 0


def test_words_and_long_texts():
    assert edit_counts([["a", "bc", "d"]], [["a", "b", "c", "d"]]) == [Edits(1, 1, 0)]
    rng = random.Random(4)
    reference = "".join(rng.choices("abcdef", k=4200))  # too long for 32-bit cells
    hypothesis = reference[:2000] + "x" + reference[2003:]
    assert edit_counts([reference], [hypothesis]) == [Edits(1, 0, 2)]


def test_a_pair_does_not_depend_on_its_batch():
    references, hypotheses = random_texts(5, 300, "abcd ", 80), random_texts(6, 300, "abcd ", 80)
    alone = [edit_counts([r], [h])[0] for r, h in zip(references, hypotheses, strict=True)]
    assert edit_counts(references, hypotheses) == alone


def test_lone_surrogates_do_not_stop_the_scoring():
    assert edit_counts(["a\ud800"], ["ab"]) == [Edits(1, 0, 0)]
