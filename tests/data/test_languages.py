from __future__ import annotations

import pytest

from mlsuperb.data.corpora.ml_superb_release import published_pairs
from mlsuperb.data.languages import (
    extra_problems,
    hub_languages,
    is_language,
    iso_639_3,
    language_name,
    language_problems,
    looks_like_code,
    nearest,
)


def test_codes_of_the_benchmark_are_languages():
    codes = {language for language, _ in published_pairs("7th")}
    assert len(codes) == 143
    assert all(map(is_language, codes))


@pytest.mark.parametrize("code", ["no", "en", "EN", "English", "xxx", "", "ger"])
def test_other_codes_are_not(code):
    assert not is_language(code)
    assert is_language(code, extra=[code])


def test_names():
    assert language_name("nan") == "Min Nan Chinese"
    assert language_name("org_jpn").startswith("Japanese")
    assert language_name("zzzz") == "zzzz"


@pytest.mark.parametrize(
    ("given", "meant"),
    [("no", "nor"), ("ger", "deu"), ("pt-BR", "por"), ("zh_CN", "zho"), ("German", "deu"), ("qqqq", None), ("", None)],
)
def test_nearest(given, meant):
    assert nearest(given) == meant


@pytest.mark.parametrize(
    ("code", "iso"),
    [("eng", "eng"), ("xxx", "xxx"), ("en", "eng"), ("zh-CN", "zho"), ("cmn_hans_cn", "cmn"), ("Eng", "eng"), ("xx1", None),
     ("org_jpn", None), ("English", None)],
)  # fmt: skip
def test_iso_code_of_other_codes(code, iso):
    assert iso_639_3(code) == iso


def test_what_looks_like_a_code():
    codes = ["eng", "unk", "org_jpn", "en", "zh-CN", "fil_ph", "NOISE", "LAUGHTER", "uh", "SIL", "Eng", "xx1"]
    assert [code for code in codes if looks_like_code(code)] == codes[:6]


@pytest.mark.parametrize("code", ["[eng]", "en]", "e n", "e\tn", "e\u00a0n", "e\u200bn", "", "e\nn"])
def test_a_code_that_can_be_no_token_is_refused_even_where_it_is_allowed(code):
    (problem,) = language_problems([code], setting="data.languages", extra=[code])
    assert problem.startswith(f"data.languages: {code!r} cannot be a language code: models write it in brackets")
    assert "extra_languages" not in problem
    (problem,) = extra_problems(["en", "zh-CN", code], group="text")
    assert problem.startswith("text.extra_languages: ")


def test_traps_of_allowed_codes_are_explained():
    first, second = extra_problems(["en", False, float("nan")], group="data")
    assert "data.extra_languages holds the truth value False" in first
    assert "data.extra_languages holds the number nan" in second


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("no", r"'no' is not an ISO 639-3.*Did you mean 'nor' \(Norwegian\)"),
        (False, r"truth value False.*quotes"),
        (float("nan"), r"number nan.*\"nan\""),
        (7, "holds 7, which is no text"),
    ],
)
def test_problems_explain_the_traps(code, message):
    (problem,) = language_problems(["eng", code, "nan"], setting="data.languages")
    with pytest.raises(ValueError, match=message):
        raise ValueError(problem)


def test_the_hub_knows_languages_by_two_letters() -> None:
    codes = ["deu", "org_jpn", "jpn", "kea", "nor", "xty", "eng1", "wol"]
    assert hub_languages(codes) == ["de", "ja", "kea", "no", "wo", "xty"]
