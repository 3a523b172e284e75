"""Protocol v2: dataset -> language -> mean, against numbers worked out by hand and against pandas."""

from __future__ import annotations

import random

import pandas as pd
import pytest
from finished_runs import scored


def score(ones, task):
    return scored(ones, task, protocols=["v2"])["v2"]


@pytest.fixture
def section(utterance):
    return score(
        [
            # eng: fleurs 1/5 = 20 %, mls 0/5 and 3/5 pooled = 30 %: mean 25 %
            utterance("eng", "abcd", "[eng] ABCX"),
            utterance("eng", "abcd", "[eng] ABCD", dataset="mls"),
            utterance("eng", "abcd", "[fra] A", dataset="mls"),
            # ben: the two googlei18n sets are one, 1/5 and 4/5 of 10 = 50 %
            utterance("ben", "abcd", "[ben] XBCD", dataset="googlei18n_asr"),
            utterance("ben", "abcd", "[ben] WXYZ", dataset="googlei18n_tts"),
            # dan is reserved: 100 %
            utterance("dan", "abcd", "", dataset="NST"),
        ],
        task="asr_lid",
    )


def test_by_hand(section):
    found = {name: entry["value"] for name, entry in section["metrics"]["test"].items()}
    assert found["trained_macro_cer"] == pytest.approx((25 + 50) / 2)
    assert found["trained_std_cer"] == pytest.approx(25 / 2**0.5)  # n - 1
    assert found["trained_micro_cer"] == pytest.approx(100 * (1 + 3 + 1 + 4) / 25)
    assert found["trained_lid_accuracy"] == pytest.approx(80.0)
    assert found["trained_macro_lid_accuracy"] == pytest.approx((100 * 2 / 3 + 100) / 2)
    assert found["all_macro_cer"] == pytest.approx((25 + 50 + 100) / 3)
    assert found["reserved_macro_cer"] == 100.0
    metrics = section["metrics"]["test"]
    assert metrics["all_worst_language_cer"] | {"unit": "%"} == {
        "value": 100.0,
        "unit": "%",
        "better": "lower",
        "languages": ["dan"],
    }
    spread = metrics["trained_dataset_range"]
    assert spread["value"] == pytest.approx(10.0)
    assert spread["languages"] == {"eng": {"highest": "mls", "lowest": "fleurs"}}
    assert spread["num_languages"] == 1  # ben has one dataset once googlei18n is merged


def test_renamed_datasets_and_orgjpn(utterance):
    section = score(
        [
            utterance("org_jpn", "ab", "[org_jpn] AB", dataset="commonvoice", id="cv_jpn_000106"),
            utterance("jpn", "ab", "[jpn] AX", dataset="commonvoice"),
            utterance("xty", "ab", "[xty] AB", dataset="mexico-el"),
            utterance("ukr", "ab", "[ukr] AB", dataset="M-AILABS"),
        ],
        task="asr_lid",
    )
    assert section["counts"]["test"].keys() == {"commonvoice", "mexico", "m"}
    assert section["per_language"]["test"].keys() == {"orgjpn", "jpn", "xty", "ukr"}
    assert section["metrics"]["test"]["all_macro_cer"]["num_languages"] == 4
    assert section["metrics"]["test"]["all_lid_accuracy"]["value"] == 100.0


def test_a_hole_is_null_and_never_a_smaller_average(utterance):
    metrics = score(
        [utterance("eng", "ab", "[eng] AB"), utterance("fra", "...", "[fra] A")],
        task="asr_lid",
    )["metrics"]["test"]
    for name in ("macro_cer", "std_cer", "worst_language_cer"):
        assert metrics[f"all_{name}"]["value"] is None
        assert metrics[f"all_{name}"]["reason"] == "no reference text in fra"
    assert metrics["all_micro_cer"]["value"] == pytest.approx(100 * 2 / 3)
    assert metrics["all_dataset_range"]["reason"] == "no language has more than one dataset"
    assert metrics["reserved_macro_cer"]["reason"] == "no utterance of a reserved language"
    one = score([utterance("eng", "ab", "[eng] AB")], task="asr_lid")["metrics"]["test"]
    assert one["all_std_cer"]["reason"] == "needs 2 or more languages, has 1"


def test_ties_are_all_named(utterance):
    ones = [utterance(language, "ab", "[eng] XY") for language in ("eng", "fra")]
    assert score(ones, task="asr_lid")["metrics"]["test"]["all_worst_language_cer"]["languages"] == ["eng", "fra"]


def test_against_pandas(utterance):
    rng = random.Random(0)
    ones = [
        utterance(
            rng.choice(["eng", "fra", "deu", "swe"]),
            "".join(rng.choices("abc ", k=8)) + "x",
            "".join(rng.choices("ABC ", k=rng.randint(0, 12))),
            dataset=rng.choice(["mls", "fleurs", "voxforge"]),
        )
        for _ in range(200)
    ]
    section = score(ones, task="asr")
    frame = pd.DataFrame(
        [
            {"dataset": dataset, "language": language} | counts
            for dataset, languages in section["counts"]["test"].items()
            for language, counts in languages.items()
        ]
    )
    assert frame["num_utterances"].sum() == 200
    errors = frame["substitutions"] + frame["insertions"] + frame["deletions"]
    frame["cer"] = 100 * errors / frame["reference_length"]
    languages = frame.groupby("language")["cer"].mean()
    metrics = {name: entry["value"] for name, entry in section["metrics"]["test"].items()}
    assert metrics["all_macro_cer"] == pytest.approx(languages.mean())
    assert metrics["all_std_cer"] == pytest.approx(languages.std())
    spread = frame.groupby("language")["cer"].agg(lambda rates: rates.max() - rates.min())
    assert metrics["all_dataset_range"] == pytest.approx(spread.max())
    assert "all_lid_accuracy" not in metrics
