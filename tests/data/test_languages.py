from __future__ import annotations

import pytest

from mlsuperb.data.corpora.ml_superb_release import published_pairs
from mlsuperb.data.languages import is_language, language_name, language_problems, nearest


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
