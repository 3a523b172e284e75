"""Word error rate beside character error rate: against jiwer, and where there are no words."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import jiwer
import pytest
from finished_runs import result_of, scored

from mlsuperb.analysis.report import summary
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.runs import LoadedRun
from mlsuperb.scoring.comparison.runs import runs_table
from mlsuperb.scoring.counts import total
from mlsuperb.scoring.protocols import wer_cer
from mlsuperb.scoring.score import Scoring
from mlsuperb.scoring.table import metrics_table, section_tables

ALPHABETS = {
    "eng": "ab c, .-",
    "deu": "äß é, ÄB",
    "ory": "\u0b15\u0b4d\u0b37 \u0b3f\u0964ର",  # virama, vowel sign, danda
    "vie": unicodedata.normalize("NFD", "ệ ữ o"),
    "cmn": "我去 。b,",
    "khm": "កា ខ្ម។",
}


def section_of(ones, task="asr"):
    return scored(ones, task, protocols=["wer_cer"])["wer_cer"]


def values(section):
    return {name: entry["value"] for name, entry in section["metrics"]["test"].items()}


def plain(text, language):
    """The challenge's normalisation, written anew."""
    kept = "".join(text.strip().split()) if language in ("cmn", "jpn", "tha", "yue") else text.strip()
    return "".join(one for one in kept if unicodedata.category(one)[0] != "P").upper().strip()


def test_rates_are_jiwers(utterance):
    rng = random.Random(0)
    rows = []
    for _ in range(300):
        language = rng.choice(list(ALPHABETS))
        sides = ("".join(rng.choices(ALPHABETS[language], k=rng.randint(0, 14))) for _ in range(2))
        rows.append((language, *sides))
    pairs = {
        code: [[plain(side, code) for side in sides] for language, *sides in rows if language == code]
        for code in ALPHABETS
    }
    spaced = [code for code in ALPHABETS if code not in ("cmn", "khm")]
    assert any(not reference for one in pairs.values() for reference, _ in one), "empty references"
    assert any(not text for one in pairs.values() for _, text in one), "empty hypotheses"

    def theirs(rate, codes):
        sides = zip(*(pair for code in codes for pair in pairs[code]), strict=True)
        return 100 * rate(*map(list, sides))

    section = section_of([utterance(*row) for row in rows])
    for code in ALPHABETS:
        found = section["per_language"]["test"][code]
        assert found["cer"] == pytest.approx(theirs(jiwer.cer, [code])), code
        assert found["wer"] == (pytest.approx(theirs(jiwer.wer, [code])) if code in spaced else None), code
    assert values(section) == pytest.approx(
        {
            "macro_wer": sum(theirs(jiwer.wer, [code]) for code in spaced) / len(spaced),
            "micro_wer": theirs(jiwer.wer, spaced),
            "macro_cer": sum(theirs(jiwer.cer, [code]) for code in ALPHABETS) / len(ALPHABETS),
            "micro_cer": theirs(jiwer.cer, ALPHABETS),
        }
    )


def test_by_hand(utterance):
    section = section_of(
        [
            utterance("eng", "one, two three", "One two"),  # 1 of 3 words; " THREE": 6 of 13 characters
            utterance("eng", "four", "for it", dataset="mls"),  # 2 of 1; U out, " IT" in: 4 of 4
            utterance("swa", "tano", "tano"),
        ]
    )
    assert values(section) == pytest.approx(
        {"macro_wer": (75 + 0) / 2, "micro_wer": 60.0, "macro_cer": 100 * 10 / 17 / 2, "micro_cer": 100 * 10 / 21}
    )
    assert section["counts"]["test"]["mls"]["eng"] == {
        "num_utterances": 1, "word_errors": 2, "num_words": 1, "character_errors": 4, "num_characters": 4,
    }  # fmt: skip
    assert (section["normaliser"]["name"], section["units"]) == ("challenge", "word")


def test_a_language_without_spaces_has_no_word_error_rate(utterance):
    ones = [utterance("eng", "a b", "a c"), utterance("jpn", "あ い", "あい"), utterance("lao", "ກ ຂ", "ກ ຂ")]
    section = Scoring(protocols=["wer_cer"]).score(ones, result_of(ones, "asr").facts).sections["wer_cer"]
    rows = metrics_table(section).rows
    assert ("test", "macro_wer ↓", "50.0", "1 language; without words: jpn, lao") in rows
    assert ("test", "macro_cer ↓", "11.1", "3 languages") in rows
    counts = section_tables(section)[0]
    assert counts.columns == ("language", "dataset", "utterances", "WER % ↓", "CER % ↓", "words", "characters")
    assert ("jpn", "fleurs", "1", "n.a.", "0.0", "0", "2") in counts.rows
    alone = section_of(ones[1:])["metrics"]["test"]
    assert alone["macro_wer"]["value"] is alone["micro_wer"]["value"] is None
    assert alone["macro_wer"]["reason"] == "written without spaces between words: jpn, lao"
    assert alone["macro_cer"]["value"] == 0.0


def test_a_language_without_references_is_no_zero(utterance):
    found = section_of([utterance("eng", "a", "a"), utterance("swa", "...", "b c")])["metrics"]["test"]
    assert found["macro_wer"]["reason"] == "no reference text in swa"
    assert found["micro_wer"]["value"] == 200.0, "what was inserted counts"
    nothing = section_of([utterance("swa", "", "")])["metrics"]["test"]
    assert nothing["micro_wer"]["reason"] == nothing["micro_cer"]["reason"] == "no reference text"


def test_language_tokens_are_no_words(utterance):
    section = section_of([utterance("eng", "[eng] a b", "[eng] a b"), utterance("org_jpn", "あ", "[jpn]あ")], "asr_lid")
    assert values(section) == {"macro_wer": 0.0, "micro_wer": 0.0, "macro_cer": 0.0, "micro_cer": 0.0}
    assert section["per_language"]["test"].keys() == {"eng", "jpn"}
    assert section_of([utterance("eng", "[eng] a b", "[eng] a b")])["per_language"]["test"]["eng"]["wer"] > 0, "of asr"


def test_tables_show_it_where_all_runs_have_it(utterance):
    ones = [utterance("eng", "a b", "a c")]
    new, old = result_of(ones, "asr"), result_of(ones, "asr", protocols=["v1", "v2"])
    assert runs_table([new, new]).columns[-2:] == ("WER ↓", "CER ↓")
    assert runs_table([new, new]).rows[0][-2:] == ("50.0", "33.3")
    assert "WER ↓" not in runs_table([new, old]).columns
    assert runs_table([new, old], protocol="wer_cer").rows[1][-2:] == ("n.a.", "n.a.")
    assert wer_cer.protocol.why_not(result_of(ones, "asr_lid").facts) == ""


def test_a_report_has_it(utterance):
    ones = [utterance("eng", "a b", "a c"), utterance("jpn", "あ", "あ")]
    run = LoadedRun(folder=Path(), result=result_of(ones, "asr"), split="test", hypotheses=ones)
    facts = {
        fact.label: fact
        for block in summary.headline(run, sounds=SoundBox(max_num=0)).blocks
        for fact in getattr(block, "facts", ())
    }
    assert facts["WER, mean over languages"].value == "50.0"
    assert facts["WER, mean over languages"].meaning == "Mean of the languages' word error rates (wer_cer)."
    (table,) = (one for one in summary.scores(run).blocks if getattr(one, "name", "") == "scores-wer_cer")
    assert [row[0].text for row in table.rows] == [
        "WER, mean over languages ↓",
        "WER, pooled ↓",
        "CER, mean over languages ↓",
        "CER, pooled ↓",
    ]
    assert table.rows[0][1].sub == "1 language; without words: jpn"


def test_counts_of_utterances_add_up_to_the_rates(utterance):
    """Those that intervals and differences are of."""
    ones = [
        utterance("eng", "the cat sat", "the bat"),
        utterance("eng", "a dog", "a dog!"),
        utterance("cmn", "我去", "我"),
    ]
    facts = result_of(ones, "asr").facts
    words, characters = (wer_cer.edit_counts(ones, facts, rate=rate) for rate in ("wer", "cer"))
    assert [(one.errors, one.reference_length) for one in words] == [(2, 3), (0, 2), (0, 0)]
    assert [(one.errors, one.reference_length) for one in characters] == [(5, 11), (0, 5), (1, 2)]
    found = values(section_of(ones))
    assert total(words).error_rate == pytest.approx(found["micro_wer"])
    assert total(characters).error_rate == pytest.approx(found["micro_cer"])


def test_languages_without_words_are_known_by_any_code() -> None:
    assert all(wer_cer.without_words(code) for code in ("jpn", "org_jpn", "ja", "zh-CN", "lao"))
    assert not any(wer_cer.without_words(code) for code in ("deu", "nan", "bod"))  # the last two: as version 1 has it
