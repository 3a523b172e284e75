from __future__ import annotations

import pytest

from mlsuperb.runs.transcripts import Piece, Timed, joined_texts, joined_tokens, spelt, transcript, words
from mlsuperb.runs.windows import Window, Windowing


def spoken(text: str, *, at_s: float = 0.0) -> list[Timed]:
    """A token per letter, 0.1 s each."""
    return [Timed(letter, at_s + n / 10, at_s + (n + 1) / 10, 0.5 + n / 100) for n, letter in enumerate(text)]


def times(found: list[Timed]) -> list[tuple[str, float, float]]:
    return [(one.text, round(one.start_s, 6), round(one.end_s, 6)) for one in found]


def test_letters_become_words() -> None:
    found = list(words(spoken(" AB  C")))
    assert times(found) == [("AB", 0.1, 0.3), ("C", 0.5, 0.6)]
    assert [one.confidence for one in found] == [pytest.approx(0.515), pytest.approx(0.55)]
    assert list(words([])) == []


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("你好 吗", ["你", "好", "吗"]),
        ("私はABCです", ["私", "は", "ABC", "で", "す"]),
        ("ที่นี่", ["ที่", "นี่"]),  # signs above a letter belong to it
        ("안녕 하세요", ["안녕", "하세요"]),  # Korean has spaces
        ("l'été d'ici", ["l'été", "d'ici"]),
    ],
)
def test_scripts_without_spaces_have_a_time_for_each_character(text: str, units: list[str]) -> None:
    found = list(words(spoken(text)))
    assert [one.text for one in found] == units
    assert spelt(found) == text
    assert all(one.start_s < one.end_s for one in found)
    assert found[0].start_s == 0
    assert round(found[-1].end_s, 6) == len(text) / 10


def test_phonemes_stand_for_themselves() -> None:
    tokens = [Timed(" sh", 0.0, 0.1, 1.0), Timed(" i", 0.1, 0.3, 1.0)]
    assert times(list(words(tokens))) == [("sh", 0.0, 0.1), ("i", 0.1, 0.3)]


def test_a_token_that_a_seam_cuts_is_one() -> None:
    left, right = spoken("HEL"), spoken("LLO", at_s=0.3)
    assert times(joined_tokens([left, right]))[1:4] == [("E", 0.1, 0.2), ("L", 0.2, 0.4), ("L", 0.4, 0.5)]
    apart = spoken("LLO", at_s=0.35)
    assert "".join(one.text for one in joined_tokens([left, apart])) == "HELLLO", "a blank between two: both were said"


def piece(text: str, language: str | None = None, *, tokens: list[Timed] | None = None, **languages: float) -> Piece:
    return Piece(text=text, language=language, languages=languages, tokens=None if tokens is None else tuple(tokens))


CUT = Windowing(length_s=20.0, overlap_s=4.0).cut(36.0, whole_s=30.0)  # kept: 18 s each


def test_the_output_of_one_window_is_as_it_was() -> None:
    one = transcript(
        "a.wav", [Window.whole(0.4)], [piece("[eng]  A B", "eng", tokens=spoken("  AB"), eng=0.7, deu=0.3)]
    )
    assert (one.hypothesis, one.predicted_language, one.text, one.duration_s) == ("[eng]  A B", "eng", "A B", 0.4)
    assert one.languages == {"eng": 0.7, "deu": 0.3}


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("[eng] A [deu] B", "A B"),
        ("A[deu]B", "A B"),
        ("[eng] [eng]", ""),
        ("[eng] A<unk>B [x]", "A<unk>B [x]"),  # no language of the model
    ],
)
def test_later_language_tokens_are_not_text_and_unknown_characters_stay(said: str, text: str) -> None:
    one = transcript("a.wav", [Window.whole(0.4)], [piece(said, "eng", eng=0.7, deu=0.3)])
    assert (one.hypothesis, one.predicted_language, one.text) == (said, "eng", text)
    assert transcript("a.wav", [Window.whole(0.4)], [piece("[eng] A ")]).text == "[eng] A", "of a model that names none"


def test_the_language_is_that_of_the_whole_recording() -> None:
    """The first window is sure of nothing, the second one is."""
    parts = [piece("[deu] HEL", "deu", tokens=spoken(" HEL", at_s=17.6), deu=0.6, eng=0.4)]
    parts += [piece("[eng] LO YOU", "eng", tokens=spoken("LO YOU", at_s=18.1), deu=0.1, eng=0.9)]
    one = transcript("a.wav", CUT, parts)
    assert (one.hypothesis, one.predicted_language, one.text) == ("[eng] HELLO YOU", "eng", "HELLO YOU")
    assert one.languages == {"eng": pytest.approx(0.65), "deu": pytest.approx(0.35)}
    assert list(one.languages) == ["eng", "deu"], "most probable first"
    assert one.words is not None
    assert times(list(one.words)) == [("HELLO", 17.7, 18.3), ("YOU", 18.4, 18.7)]


def test_a_classifier_of_languages_has_no_text() -> None:
    parts = [piece("[deu]", "deu", deu=0.9, eng=0.1), piece("[eng]", "eng", deu=0.4, eng=0.6)]
    one = transcript("a.wav", CUT, parts)
    assert (one.hypothesis, one.predicted_language, one.text, one.words) == ("[deu]", "deu", "", None)


def test_texts_are_joined_where_they_share_words() -> None:
    """Windows of 20 s that overlap by 4."""
    before = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    after = ["nine,", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen"]
    found = joined_texts([" ".join([*before, "nine"]), " ".join(["eight", "nine", *after[1:]])], CUT)
    assert found == ("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen", 0)


def test_texts_that_share_too_little_follow_one_another() -> None:
    assert joined_texts(["a b c d", "d e f"], CUT) == ("a b c d d e f", 1)
    assert joined_texts(["a b c d", ""], CUT) == ("a b c d", 0)
    assert joined_texts(["", "a b"], CUT) == ("a b", 0)
    assert joined_texts(["我们今天去", "今天去学校"], CUT) == ("我们今天去学校", 0)


def test_what_is_said_twice_outside_the_overlap_stays() -> None:
    again = "to be or not to be"
    filler = [f"w{number}" for number in range(20)]
    first, second = " ".join([again, *filler]), " ".join([*(f"v{n}" for n in range(20)), again])
    assert joined_texts([first, second], CUT) == (f"{first} {second}", 1)


def test_translations_without_probabilities_take_the_language_of_most_windows() -> None:
    windows = Windowing(length_s=20.0, overlap_s=4.0).cut(52.0, whole_s=30.0)
    parts = [piece("[eng] a b c", "eng"), piece("[deu] b c d", "deu"), piece("[deu] c d e", "deu")]
    one = transcript("a.wav", windows, parts)
    assert (one.hypothesis, one.predicted_language) == ("[deu] a b c d e", "deu")
