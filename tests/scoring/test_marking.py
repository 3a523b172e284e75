from __future__ import annotations

import pytest

from mlsuperb.scoring.marking import joined, marked


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("ab", "ab", [("ab", "ab", "equal")]),
        ("abc", "axc", [("a", "a", "equal"), ("b", "x", "substituted"), ("c", "c", "equal")]),
        ("abc", "a", [("a", "a", "equal"), ("bc", "", "deleted")]),
        ("", "ab", [("", "ab", "inserted")]),
        ("", "", []),
        (["a", "i3"], ["a", "i4"], [(["a"], ["a"], "equal"), (["i3"], ["i4"], "substituted")]),
    ],
)
def test_pieces_spell_both_sides(reference, hypothesis, expected):
    found = marked(reference, hypothesis)
    sides = [(one.reference, one.hypothesis, one.kind) for one in found]
    assert sides == expected
    assert [unit for one in found for unit in one.reference] == list(reference)
    assert [unit for one in found for unit in one.hypothesis] == list(hypothesis)


def test_units_are_joined_as_they_were_parted():
    assert (joined("ab c"), joined(["ab", "c"]), joined([])) == ("ab c", "ab c", "")
