"""How phones are written, and where one ends and the next begins."""

from __future__ import annotations

import unicodedata

import pytest

from mlsuperb.data.phones.ipa import canonical, is_ipa, phones, split, without_stress


@pytest.mark.parametrize(
    ("phone", "bare"),
    [("AH0", "AH"), ("ER2", "ER"), ("ˈaː", "aː"), ("ˌɔ", "ɔ"), ("a1", "a1"), ("AH3", "AH3"), ("5", "5"), ("rr", "rr")],
)
def test_stress_marks_go_and_tones_stay(phone: str, bare: str) -> None:
    assert without_stress(phone) == bare


@pytest.mark.parametrize(
    ("ipa", "parted"),
    [
        ("həlˈoʊ wˈɜːld", "h ə l o ʊ w ɜː l d"),  # stress and words
        ("t͡ʃɪld͡ʒ", "t͡ʃ ɪ l d͡ʒ"),
        ("tʃ", "t ʃ"),  # nothing says that it is one
        ("ʧa ʦa", "t͡ʃ a t͡s a"),
        ("t͜ʃ", "t͡ʃ"),
        ("t̪͡s̪ʰ", "t̪͡s̪ʰ"),
        ("k͡pa", "k͡p a"),
        ("a͡ɪ o͡ʊː", "a ɪ o ʊː"),  # diphthongs
        ("j͡u ʈ͡ʈ", "j u ʈ ʈ"),  # a glide and a vowel, a geminate
        ("k͡hat͡ɕ͡hi", "kʰ a t͡ɕʰ i"),  # espeak-ng's Korean
        ("kʷʰaˤ", "kʷʰ aˤ"),
        ("ãː aː̃", "ãː ãː"),
        ("n̩ ŋ̍ ɾ̃", "n̩ ŋ̍ ɾ̃"),
        ("ma˥˩ ma˨˩˦", "m a ˥ ˩ m a ˨ ˩ ˦"),
        ("ⁿda aⁿda tⁿ", "ⁿd a a ⁿd a tⁿ"),
        ("iːᵑ ʰ", "iːᵑ ʰ"),
        ("ʲe nʲʲ aːː", "ʲe nʲ aː"),
        ("gɚ ɝː ᵻ", "ɡ ə˞ ɜ˞ː ɪ̈"),
        ("a.ta‿o|", "a t a o"),
        ("ǃa ʘ", "ǃ a ʘ"),
        ("a5 t[", "a 5 t ["),
        ("ˈ .", ""),
        ("", ""),
    ],
)
def test_ipa_is_parted(ipa: str, parted: str) -> None:
    expected = [unicodedata.normalize("NFD", one) for one in parted.split()]
    assert split(ipa) == expected
    assert split(unicodedata.normalize("NFC", ipa)) == expected
    assert split(" ".join(expected)) == expected, "once parted they stay"


def test_texts_of_phones_are_taken_as_they_are_parted() -> None:
    assert phones(" ˈa  t͡ʃ aɪ g ˌ a\u0303 ") == ["a", "t͡ʃ", "aɪ", "ɡ", "a\u0303"]
    assert phones("HH AH0 L OW1 <unk> sh ng") == ["HH", "AH", "L", "OW", "<unk>", "sh", "ng"], "another set stays"
    assert [canonical(one) for one in ("ng", "ŋg", "aː", "a:")] == ["ng", "ŋɡ", "aː", "a:"]


def test_what_is_ipa() -> None:
    assert is_ipa(["t͡ʃ", "aː", "˥", "ə˞", "ǃ", "ʔ", "ʼ"])
    assert not any(map(is_ipa, (["a", "5"], ["t["], ["S"], ["?"], ["`"])))
