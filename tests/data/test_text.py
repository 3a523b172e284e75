import pytest

from mlsuperb.data.text import LanguageTokens, codes_of_tokens, normaliser, v1, v1_mono


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", "HELLO WORLD"),
        ("[eng] one [noise] two", " two".upper()),  # greedy: from the first [ to the last ]
        ("[a (b) c] d", "A B C D"),  # a parenthesis between keeps the stretch; the signs go as punctuation
        ("¿Qué? “yes” । 你好。", "¿QUÉ “YES” । 你好。"),  # only ASCII punctuation goes
        ("straße", "STRASSE"),
        ("cafe\u0301", "CAFE\u0301"),  # no Unicode normalisation
    ],
)
def test_v1(text: str, expected: str) -> None:
    assert v1(text) == expected


def test_the_monolingual_track_keeps_what_stands_in_brackets() -> None:
    assert v1_mono("[noise] don't") == "NOISE DONT"


def test_unknown_normaliser() -> None:
    with pytest.raises(ValueError, match="unknown text normaliser 'v3'; choose one of raw, v1, v1_mono"):
        normaliser("v3")


@pytest.mark.parametrize(
    ("hypothesis", "language"),
    [
        ("[eng] HELLO", "eng"),
        ("HE[fra]LLO [eng]", "fra"),
        ("[org_jpn] [jpn]", "jpn"),  # two-part codes only where there is no plain one
        ("[org_jpn] X", "org_jpn"),
        ("[ENG] [en] [engl]", None),
        ("", None),
    ],
)
def test_first_language(hypothesis: str, language: str | None) -> None:
    assert LanguageTokens([]).first(hypothesis) == language
    assert LanguageTokens(["eng", "org_jpn"]).first(hypothesis) == language


def test_codes_of_other_forms_are_found_where_they_are_known() -> None:
    tokens = LanguageTokens(["en", "zh-CN", "x.y", "jpn"])
    assert tokens.first("A [en] [jpn]") == "en"
    assert tokens.first("[xxy] [zh-CN]") == "xxy"  # of ML-SUPERB's form, so it needs not be known
    assert tokens.first("[x.y] A") == "x.y"
    assert tokens.first("[xzy] [org_jpn] [en]") == "xzy"
    assert tokens.first("[org_jpn] [en]") == "en"
    assert tokens.first("[fr] [x,y] [zh-cn]") is None
    assert tokens.removed("[en] A [zh-CN][eng]B [fr]") == " A B [fr]"
    assert tokens.removed_at_start(" [en] A [en]") == " A [en]"
    assert tokens.removed_at_start(" A [en]") == " A [en]"
    assert codes_of_tokens(["<unk>", "[", "]", "[]", "A", "[en]", "[org_jpn]"]) == ["en", "org_jpn"]
