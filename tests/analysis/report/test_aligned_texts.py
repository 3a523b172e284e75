from __future__ import annotations

import random

import pytest
from fake_runs import SENTENCES

from mlsuperb.analysis.report.alignment import MAX_WORD, align, direction, graphemes


def marks(reference: str, hypothesis: str, **options: str) -> str:
    """One letter a piece."""
    return "".join(piece.mark[0] for word in align(reference, hypothesis, **options).words for piece in word)


def test_edits_are_marked() -> None:
    assert marks("abc", "abc") == "eee"
    assert marks("abc", "axc") == "ese"
    assert marks("abc", "ac") == "ede"
    assert marks("ac", "abc") == "eie"
    assert marks("ab", "") == "dd"
    assert marks("", "ab") == "ii"


def test_a_mark_stays_with_its_base() -> None:
    assert graphemes("हिन्दी")[0] == "हि"
    assert graphemes("Ẹ̀F") == ["Ẹ̀", "F"]
    assert marks("e\u0301a", "ea") == "se"  # one character is wrong, not a mark missing
    assert graphemes("👩‍🏫x") == ["👩‍🏫", "x"]


def test_burmese_vowels_and_stacked_consonants_stay_with_their_base() -> None:
    assert graphemes("စာသား") == ["စာ", "သား"]  # U+102C, which UAX #29 lets stand alone
    assert graphemes("ပေါင်း")[0] == "ပေါ"  # U+102B
    assert graphemes("ဒဏ္ဍာရီ") == ["ဒ", "ဏ္ဍာ", "ရီ"]
    assert graphemes("ភ្នំ") == ["ភ្នំ"]  # Khmer
    assert marks("စာ", "စိ") == "s"
    assert graphemes(" ာ") == [" ", "ာ"], "what the model wrote alone stands alone"


def test_nothing_of_the_texts_is_lost() -> None:
    generator = random.Random(0)
    seen = 0
    for sentence in SENTENCES.values():
        output = "".join(c for c in sentence if generator.random() > 0.2) + generator.choice(sentence)
        aligned = align(sentence, output)
        pieces = [piece for word in aligned.words for piece in word]
        assert "".join(piece.reference for piece in pieces) == sentence == aligned.reference
        assert "".join(piece.hypothesis for piece in pieces) == output == aligned.hypothesis
        seen += 1
    assert seen == 12


def test_joined_scripts_are_not_pulled_apart() -> None:
    arabic = align("باد شمال", "باد شمل")
    assert arabic.direction == "rtl"
    assert [len(word) for word in arabic.words] == [1, 3]  # letters that are equal stay together
    assert arabic.joined
    hebrew = align("רוח", "רוח")
    assert hebrew.direction == "rtl"
    assert not hebrew.joined


def test_long_insertions_of_joined_scripts_are_cut() -> None:
    aligned = align("باد شمال", "باد " + "شمال خورشید " * 17 + "شمال")
    pieces = [piece for word in aligned.words for piece in word]
    [inserted] = [piece for piece in pieces if piece.mark == "inserted"]
    assert len(inserted.hypothesis) + inserted.left_out == 17 * 12
    assert inserted.left_out == 184
    assert "".join(piece.reference for piece in pieces) == aligned.reference == "باد شمال"
    assert aligned.hypothesis.endswith("خورشید شمال"), "read aloud, the whole hypothesis is there"
    assert not any(piece.left_out for word in align("ab", "ab" + "c" * 99).words for piece in word)


def test_words_fit_a_phone() -> None:
    words = align("A" * 100, "B" * 70).words
    assert max(len(word) for word in words) == MAX_WORD
    assert len(align("one two three", "one two tree").words) == 3


def test_phonemes_are_units() -> None:
    assert marks("p a1 t", "p a2 t", units="phoneme") == "ese"
    assert [piece.reference for word in align("p a1 t", "p", units="phoneme").words for piece in word] == [
        "p",
        "a1",
        "t",
    ]


def test_a_very_long_text_is_cut_and_says_so() -> None:
    aligned = align("a" * 5000, "b")
    assert len(aligned.reference) == 1500
    assert "only the first 1500 characters" in aligned.facts


@pytest.mark.parametrize(("text", "expected"), [("", "ltr"), ("123 abc", "ltr"), ("12 שלום", "rtl"), ("«سلام»", "rtl")])
def test_direction_is_that_of_the_first_letter(text: str, expected: str) -> None:
    assert direction(text) == expected
