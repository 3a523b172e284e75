"""The 2025 challenge in both forms: the six numbers by hand, and utterance rates against jiwer."""

from __future__ import annotations

import random
import statistics

import jiwer
import pytest
from finished_runs import scored

from mlsuperb.scoring.protocols import challenge
from mlsuperb.scoring.utterances import num_empty


def score(ones):
    return scored(ones, protocols=["challenge"])["challenge"]


def score_server(ones):
    return scored(ones, protocols=["challenge_server"])["challenge_server"]


def values(section, split="test"):
    return {name: entry["value"] for name, entry in section["metrics"][split].items()}


def test_utterance_rate_is_jiwers():
    rng = random.Random(0)
    for _ in range(500):
        reference, text = ("".join(rng.choices("ab é語", k=rng.randint(1, 12))) for _ in range(2))
        assert challenge.utterance_cer(reference, text) == pytest.approx(jiwer.cer(reference, text))
    assert challenge.utterance_cer(" ", "abc") == jiwer.cer(" ", "abc") == 3


def test_six_numbers_by_hand(utterance):
    section = score(
        [
            utterance("eng", "abcd", "[eng] ABCD"),  # 0
            utterance("eng", "a", "[eng] XYZ"),  # 3: a rate may exceed 1
            utterance("eng", "abcd", "[fra] ABXX", dataset="mls"),  # 0.5
            utterance("fra", "abcd", "[fra] ABC"),  # 0.25
            utterance("eng", "ab", "[eng] AX", split="dev_dialect"),  # 0.5
            utterance("ara", "ab", "[eng] AB", split="dev_dialect"),  # 0
        ]
    )
    eng, fra = 100 * 3.5 / 3, 25.0
    assert values(section) == pytest.approx(
        {
            "standard_cer": (eng + fra) / 2,
            "standard_lid_accuracy": (100 * 2 / 3 + 100) / 2,
            "worst_15_cer": (eng + fra) / 15,
            "std_cer": statistics.stdev([eng, fra]),
            "dialect_cer": 25.0,
            "dialect_lid_accuracy": 50.0,
        }
    )
    assert section["metrics"]["test"]["worst_15_cer"]["num_summed"] == 2
    assert section["counts"]["test"]["fleurs"]["eng"]["cer_sum"] == 3.0
    assert section["per_language"]["dev_dialect"]["ara"] == {"cer": 0.0, "lid_accuracy": 0.0}


def test_against_a_plain_reading_of_the_script(utterance):
    """Lines `[iso] text` of three languages, scored language by language with jiwer."""
    rng = random.Random(1)
    rows = []
    for _ in range(150):
        language, guess = rng.choices(["eng", "cmn", "fra"], k=2)
        text, said = ("".join(rng.choices("ab é。語,+", k=rng.randint(0, 9))) for _ in range(2))
        rows.append((language, text, f"[{guess}] {said}"))
    rates, accuracies = [], []
    for language in ("eng", "cmn", "fra"):
        cers, right = [], []
        for _, text, output in (row for row in rows if row[0] == language):
            pair = [text.strip(), output[5:].strip()]
            if language == "cmn":
                pair = [side.replace(" ", "") for side in pair]
            pair = [side.replace("。", "").replace(",", "").upper() for side in pair]
            if pair[0]:
                cers.append(jiwer.cer(*pair))
                right.append(output[:5] == f"[{language}]")
        rates.append(100 * statistics.fmean(cers))
        accuracies.append(100 * statistics.fmean(right))
    found = values(score([utterance(*row) for row in rows]))
    assert found["standard_cer"] == pytest.approx(statistics.fmean(rates))
    assert found["std_cer"] == pytest.approx(statistics.stdev(rates))
    assert found["worst_15_cer"] == pytest.approx(sum(rates) / 15)
    assert found["standard_lid_accuracy"] == pytest.approx(statistics.fmean(accuracies))


def test_worst_15_of_more_languages(utterance):
    codes = [f"a{first}{second}" for first in "bcde" for second in "fghij"]
    ones = [utterance(code, "abcdefghij", f"[{code}] " + "abcdefghij"[: 10 - n % 11]) for n, code in enumerate(codes)]
    rates = [10 * (n % 11) for n in range(20)]
    found = score(ones)["metrics"]["test"]["worst_15_cer"]
    assert found["value"] == pytest.approx(sum(sorted(rates)[-15:]) / 15)
    assert (found["num_languages"], found["num_summed"]) == (20, 15)


def test_normaliser(utterance):
    """Unicode punctuation goes, symbols and marks stay, upper case; four languages lose their spaces."""
    assert values(score([utterance("spa", "¿qué—tal? + €", "[spa] QUÉTAL + €"), utterance("fra", "a", "b")]))[
        "standard_cer"
    ] == pytest.approx(50.0)  # spa is right; [fra] is missing and "b" is taken for a language
    for language in ("cmn", "jpn", "tha", "yue"):
        section = score([utterance(language, "我想 去。餐厅", f"[{language}] 我 想去餐厅")])
        assert section["per_language"]["test"][language]["cer"] == 0.0
    # elsewhere spaces count: "AB" against "A B"
    assert score([utterance("eng", "a b", "[eng] ab")])["per_language"]["test"]["eng"]["cer"] == pytest.approx(100 / 3)


def test_language_is_the_first_five_characters(utterance):
    section = score(
        [
            utterance("eng", "a", "[eng]A"),  # right, no space needed
            utterance("eng", "a", " [eng] A"),  # wrong: a character late, and `]` is left in the text (punctuation)
            utterance("eng", "a", "A [eng]"),
            utterance("jpn", "あ", "[org_jpn] あ"),
        ]
    )
    assert section["counts"]["test"]["fleurs"]["eng"]["lid_correct"] == 1
    # what follows the fifth character is text: `jpn] あ` -> JPNあ
    assert section["counts"]["test"]["fleurs"]["jpn"]["cer_sum"] == 3.0


def test_org_jpn_and_references_that_begin_with_their_language(utterance):
    section = score([utterance("org_jpn", "[jpn] あ", "[jpn] あ"), utterance("jpn", "あ", "[jpn] あ")])
    assert section["counts"]["test"]["fleurs"].keys() == {"jpn"}
    assert section["per_language"]["test"]["jpn"] == {"cer": 0.0, "lid_accuracy": 100.0}


def test_empty_references_and_hypotheses_are_counted(utterance):
    section = score([utterance("eng", "?!", "[eng] A"), utterance("eng", "ab", ""), utterance("eng", "ab", "[eng] ab")])
    assert section["counts"]["test"]["fleurs"]["eng"] == {
        "num_utterances": 3,
        "num_scored": 2,
        "num_empty_hypotheses": 1,
        "cer_sum": 1.0,
        "lid_correct": 1,
    }
    assert section["per_language"]["test"]["eng"] == {"cer": 50.0, "lid_accuracy": 50.0}


def test_a_hypothesis_is_empty_without_any_output(utterance):
    ones = [utterance("eng", "a", text) for text in ("", " ", "[eng]", "[eng] A")]
    assert num_empty(ones) == 2
    assert score(ones)["counts"]["test"]["fleurs"]["eng"]["num_empty_hypotheses"] == 2


def test_a_language_without_references_makes_the_public_numbers_null(utterance):
    ones = [utterance("eng", "ab", "[eng] ab"), utterance("fra", "...", "[fra] a")]
    public = score(ones)["metrics"]["test"]
    assert public["standard_cer"]["value"] is None
    assert public["standard_cer"]["reason"] == "no reference text in fra"
    assert public["worst_15_cer"]["value"] is None
    server = score_server(ones)
    assert server["left_out"] == {"test": ["fra"]}
    assert server["metrics"]["test"]["standard_lid_accuracy"]["value"] == 100.0
    assert server["metrics"]["test"]["standard_cer"]["num_languages"] == 1


def test_missing_splits_are_null(utterance):
    only = score([utterance("eng", "ab", "[eng] ab")])["metrics"]["test"]
    assert only["dialect_cer"] == {"value": None, "unit": "%", "better": "lower", "reason": "no split dev_dialect"}
    assert only["std_cer"]["reason"] == "needs 2 or more languages, has 1"
    dialect = score([utterance("eng", "ab", "[eng] ab", split="dev_dialect")])["metrics"]
    assert dialect["dev_dialect"]["dialect_cer"]["value"] == 0.0
    assert dialect["dev_dialect"]["standard_cer"]["reason"] == "no standard split"


def test_the_server_keeps_white_space_of_dialect_references(utterance):
    """Those of the standard split lose their first word, which joins the others by single spaces."""

    def errors(reference, split):
        section = score_server([utterance("eng", reference, "[eng] x a b", split=split)])
        return section["counts"][split]["fleurs"]["eng"]["cer_sum"]

    for reference in ("a  b", "[eng] a  b", "a \u00a0b", "a \u3000b "):
        assert errors(reference, "dev_dialect") == pytest.approx(5 / 8), reference  # ENG A  B against A B
        assert errors(reference, "test") == 0.0, reference
    assert errors("[eng]  a b", "dev_dialect") == pytest.approx(5 / 8)
    assert errors(" [eng]a b", "dev_dialect") == pytest.approx(3 / 6)
    assert scored([utterance("eng", "a", "a")], protocols=["challenge_server"])["challenge_server"]["version"] == "2"


def test_server_form(utterance):
    """It drops the first word of every text, keeps the language in dialect references, and knows ASCII signs only."""
    ones = [
        utterance("eng", "one two", "[eng] ONE TWO"),  # TWO for ONE TWO: 4 of 7
        utterance("eng", "one, two", "[eng] X ONE TWO"),  # right
        utterance("spa", "¿qué", "[spa] x qué"),  # ¿ stays: 1 of 4
        utterance("fra", "a+b|c", "[fra] x A+B|C"),  # + and | are not on its list
        utterance("eng", "ab", "[eng] x AB", split="dev_dialect"),  # ENG AB: 4 of 6
        utterance("eng", "ab", "[eng]", split="dev_dialect"),  # 6 of 6
    ]
    section = score_server(ones)
    counts = section["counts"]["test"]["fleurs"]
    assert [counts[name]["cer_sum"] for name in ("eng", "spa", "fra")] == pytest.approx([4 / 7, 0.25, 0.0])
    assert values(section)["dialect_cer"] == pytest.approx(100 * (4 / 6 + 1) / 2)
    assert values(section)["standard_lid_accuracy"] == 100.0
    assert values(section)["dialect_lid_accuracy"] == 100.0
    assert score(ones)["counts"]["test"]["fleurs"]["eng"]["cer_sum"] == pytest.approx(2 / 7)
