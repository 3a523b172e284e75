"""Protocol v1, every quirk against numbers worked out by hand."""

from __future__ import annotations

import pytest
from finished_runs import facts, scored

from mlsuperb.data.corpora.ml_superb_release import few_shot_ids
from mlsuperb.scoring.protocols import v1
from mlsuperb.scoring.utterances import compared_texts, language_tokens, utterance_counts


def counts_of(one, task="asr_lid", **options):
    (found,) = utterance_counts([one], facts(task, **options))
    return found


def score(ones, task, **options):
    return scored(ones, facts(task, **options), protocols=["v1"])["v1"]


def test_the_reserved_languages_are_those_of_the_data():
    assert frozenset(few_shot_ids()) == v1.RESERVED_LANGUAGES
    assert len(v1.RESERVED_LANGUAGES) == 20


def test_space_after_the_language_counts_on_both_sides(utterance):
    one = utterance("eng", "hello, [noise] world!", "[eng] HELLO WORLD")
    found = counts_of(one)
    assert (found.reference_length, found.errors, found.lid_correct, found.lid_total) == (12, 0, 1, 1)
    assert counts_of(utterance("eng", "ab", "AB")).deletions == 1  # no language, so no space after it
    assert counts_of(utterance("eng", "ab", "[eng]")).deletions == 3
    asr = counts_of(utterance("eng", "hello world", "HELLO WORLD"), task="asr")
    assert (asr.reference_length, asr.lid_total) == (11, 0)


def test_whitespace_runs_are_one_space_and_inner_language_tokens_leave_theirs(utterance):
    one = utterance("eng", " ab \t c\u3000d ", "[eng]  AB  C\u00a0D ")
    assert compared_texts(one, facts(), language_tokens([one])) == (" AB C D", " AB C D")
    other = utterance("eng", "ab cd", "[eng] AB [org_jpn] CD")
    assert compared_texts(other, facts(), language_tokens([other]))[1] == " AB  CD"


def test_empty_reference_makes_insertions_only(utterance):
    found = counts_of(utterance("eng", "[laughs] ...", "[eng] HA"))
    assert (found.reference_length, found.insertions) == (0, 3)
    section = score([utterance("eng", "...", "[eng] HA")], task="asr_lid")
    entry = section["metrics"]["test"]["trained_cer"]
    assert (entry["value"], entry["reason"]) == (None, "no reference text")


def test_unk_is_five_characters(utterance):
    found = counts_of(utterance("cmn", "語", "<unk>"), task="asr")
    assert (found.substitutions, found.insertions) == (1, 4)
    # sclite ignores case: the u of <unk> is the U of the reference, so it saves a substitution
    found = counts_of(utterance("eng", "u", "<unk>"), task="asr")
    assert (found.substitutions, found.insertions) == (0, 4)


def test_sclites_word_for_nothing_costs_nothing(utterance):
    """`@` in a hypothesis, and in a reference that keeps its punctuation (SCTK, `src/sclite/word.c`)."""
    found = counts_of(utterance("eng", "ab", "@A@X@"), task="asr")
    assert (found.reference_length, found.substitutions, found.errors) == (2, 1, 1)
    for reference, output, errors in (
        ("a@b", "a@b", 0),
        ("a@b", "ab", 0),
        ("a@b", "@axb", 1),
        ("@", "", 0),
        ("@", "b", 1),
    ):
        found = counts_of(utterance("eng", reference, output), task="asr", normaliser="raw")
        assert (found.reference_length, found.errors) == (len(reference.replace("@", "")), errors)
    assert counts_of(utterance("eng", "a@b", "[eng] a@b"), normaliser="raw").errors == 0


def test_sclites_word_for_nothing_costs_nothing_among_phonemes(utterance, monkeypatch):
    monkeypatch.setattr("mlsuperb.data.phonemes.to_phonemes", lambda text, language: " ".join(text))
    found = counts_of(utterance("jpn", "ka", "K @ A"), task="asr", units="phoneme")
    assert (found.reference_length, found.errors) == (2, 0)


def test_alternatives_are_told(utterance, caplog):
    ones = [utterance("eng", "ab", "AB"), utterance("eng", "ab", "{A/B}")]
    assert counts_of(ones[0], task="asr").errors == 0
    assert caplog.text == ""
    utterance_counts(ones, facts("asr"))
    assert "1 of 2 utterances hold a brace, which sclite would read as the beginning of alternatives" in caplog.text


def test_only_ascii_case_is_ignored(utterance):
    # raw: the reference keeps its case
    assert counts_of(utterance("eng", "Ab", "aB"), task="asr", normaliser="raw").errors == 0
    assert counts_of(utterance("fra", "É", "é"), task="asr", normaliser="raw").substitutions == 1


def test_other_punctuation_stays(utterance):
    found = counts_of(utterance("hin", "अब।", "[hin] अब"))
    assert (found.reference_length, found.deletions) == (4, 1)


@pytest.mark.parametrize(
    ("label", "hypothesis", "right"),
    [
        ("eng", "[eng] A", True),
        ("eng", "A [eng] [fra]", True),  # anywhere, the first
        ("eng", "[fra] [eng] A", False),
        ("jpn", "[org_jpn] [jpn] A", True),  # two-part codes are looked at last
        ("org_jpn", "[org_jpn] A", True),
        ("org_jpn", "[jpn] A", False),
        ("eng", "A", False),  # none is [UNK]
        ("eng", "[ENG] A", False),
        ("nan", "[nan]", True),
    ],
)
def test_language_is_the_first_token(utterance, label, hypothesis, right):
    for task in ("lid", "asr_lid"):
        assert counts_of(utterance(label, "a", hypothesis), task=task).lid_correct == right


def test_subsets_are_pooled_not_averaged(utterance):
    section = score(
        [
            utterance("eng", "a" * 9, "[eng] " + "A" * 9),  # 0 of 10
            utterance("eng", "a" * 9, "[fra] " + "A" * 9, dataset="mls"),  # 0 of 10, wrong language
            utterance("fra", "abc", "[fra] X"),  # 1 sub, 2 del of 4
            utterance("dan", "abcd", "[dan] ABCDE"),  # 1 ins of 5
        ],
        task="asr_lid",
    )
    found = {name: entry["value"] for name, entry in section["metrics"]["test"].items()}
    assert found == pytest.approx(
        {
            "trained_cer": 100 * 3 / 24,
            "trained_lid_accuracy": 100 * 2 / 3,
            "reserved_cer": 20.0,
            "reserved_lid_accuracy": 100.0,
            "all_cer": 100 * 4 / 29,
            "all_lid_accuracy": 75.0,
        }
    )
    assert section["metrics"]["test"]["trained_cer"]["num_languages"] == 2
    assert section["counts"]["test"]["mls"]["eng"] == {
        "num_utterances": 1,
        "substitutions": 0,
        "insertions": 0,
        "deletions": 0,
        "reference_length": 10,
        "lid_correct": 0,
        "lid_total": 1,
    }
    assert section["normaliser"] == {"name": "v1", "version": "1"}


def test_org_jpn_counts_as_jpn_by_its_id(utterance):
    ones = [
        utterance("org_jpn", "ab", "[org_jpn] AB", dataset="commonvoice", id="cv_jpn_000106"),
        utterance("jpn", "ab", "[jpn] XX", dataset="commonvoice", id="cv_jpn_000001"),
    ]
    section = score(ones, task="asr_lid")
    assert list(section["per_language"]["test"]) == ["jpn"]
    assert section["per_language"]["test"]["jpn"]["num_utterances"] == 2
    assert set(section["counts"]["test"]["commonvoice"]) == {"org_jpn", "jpn"}
    # other ids do not speak for the language
    assert v1.scored_language(utterance("eng", "a", "a", id="tape_dan_000001")) == "eng"
    assert v1.scored_language(utterance("dan", "a", "a", id="whatever")) == "dan"


def test_a_subset_without_utterances_is_null_with_the_reason(utterance):
    section = score([utterance("eng", "a", "[eng] A")], task="asr_lid")
    entry = section["metrics"]["test"]["reserved_cer"]
    assert (entry["value"], entry["reason"]) == (None, "no utterance of a reserved language")
    assert entry["better"] == "lower"


def test_tasks_have_only_their_metrics(utterance):
    one = utterance("eng", "a", "[eng]")
    assert set(score([one], task="lid")["metrics"]["test"]) == {f"{s}_lid_accuracy" for s in v1.SUBSETS}
    assert set(score([one], task="asr")["metrics"]["test"]) == {f"{s}_cer" for s in v1.SUBSETS}
    counts = score([one], task="lid")["counts"]["test"]["fleurs"]["eng"]
    assert counts == {"num_utterances": 1, "lid_correct": 1, "lid_total": 1}


def test_splits_are_kept_apart(utterance):
    ones = [utterance("eng", "a", "A"), utterance("eng", "a", "B", split="dev_dialect")]
    metrics = score(ones, task="asr")["metrics"]
    assert {split: found["all_cer"]["value"] for split, found in metrics.items()} == {"dev_dialect": 100.0, "test": 0.0}


def test_phonemes_are_compared_as_words_by_any_case(utterance, monkeypatch):
    spoken = {"NIHAO": "n i3 h ao3"}
    monkeypatch.setattr("mlsuperb.data.phonemes.to_phonemes", lambda text, language: spoken[text])
    section = score([utterance("cmn", "nihao!", "N i3 h  ao4 x")], task="asr", normaliser="v1_mono", units="phoneme")
    assert section["metrics"]["test"]["all_per"]["value"] == 50.0  # 1 sub, 1 ins of 4
    assert section["units"] == "phoneme"


def test_monolingual_normaliser_keeps_what_is_in_brackets(utterance):
    one = utterance("eng", "a [b] c", "A B C")
    assert counts_of(one, task="asr", normaliser="v1_mono").errors == 0
    assert counts_of(one, task="asr", normaliser="v1").insertions == 2
    with pytest.raises(ValueError, match="unknown text normaliser 'v9'"):
        counts_of(one, task="asr", normaliser="v9")
