"""Codes that are not three small letters count as others do: a language is found as a token of the codes that a file has."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import chain

import pytest
from finished_runs import facts, scored

from mlsuperb.scoring.comparison.language_facts import group_of
from mlsuperb.scoring.comparison.paired import pair_utterances, utterance_lines
from mlsuperb.scoring.examples import show_examples
from mlsuperb.scoring.utterances import compared_texts, language_tokens, utterance_counts

PLAIN = ("eng", "swa", "fil")
OTHERS = (("en", "xx1", "fil_ph"), ("Eng", "pt-BR", "a"), ("deu_latn_de", "eng-x.y+z", "fil_ph_x"))
ANYWHERE = ["[{}] {}", "[{}]{}", "{1}", "{1} [{0}]", "[{}] {} [{}] X"]
IN_FRONT = ANYWHERE[:3]  # the challenge takes those that stand elsewhere for text, whatever their length


def spoken(utterance, codes, forms):
    """The same 60 utterances, whatever the codes are: languages right, wrong, missing, doubled, in the middle."""
    draw = random.Random(0)
    made = []
    for number in range(60):
        language, named, again = (codes[draw.randrange(3)] for _ in range(3))
        reference, text = ("".join(draw.choices("AB C", k=draw.randint(1, 12))) for _ in range(2))
        said = draw.choice(forms).format(named, text, again)
        split, number = draw.choice(["test", "dev_dialect"]), f"{number}"
        made.append(utterance(language, f"[{language}] {reference}", said, split=split, id=number))
        made.append(utterance(language, reference, said, split=split, id=f"{number}_plain"))
    return made


def figures(found):
    return {
        (protocol, split, name): entry["value"]
        for protocol, section in found.items()
        if protocol != "not_applicable"
        for split, metrics in section["metrics"].items()
        for name, entry in metrics.items()
    }


@pytest.mark.parametrize("codes", OTHERS)
@pytest.mark.parametrize(
    ("task", "protocols", "forms"),
    [
        ("asr_lid", ("v1", "v2", "wer_cer"), ANYWHERE),
        ("asr_lid", ("challenge", "challenge_server"), IN_FRONT),
        ("lid", ("v1",), ANYWHERE),
    ],
)
def test_other_codes_give_the_numbers_that_plain_ones_give(codes, task, protocols, forms, utterance):
    expected, found = (
        figures(scored(spoken(utterance, either, forms), task, protocols=protocols)) for either in (PLAIN, codes)
    )
    for figure in (expected, found):  # the server takes the token of a dialect reference for text
        figure.pop(("challenge_server", "test", "dialect_cer"), None)
    assert len(found) >= 6
    assert found == pytest.approx(expected, abs=1e-9)


def test_perfect_answers_are_perfect(utterance):
    """In the middle of a file of plain codes, too; the public challenge cuts the token off as long as it is."""
    codes = ("en", "zh-CN", "cmn_hans_cn", "eng", "org_jpn_x", "xx1")
    found = scored([utterance(code, "hello world", f"[{code}] HELLO WORLD") for code in codes])
    values = figures(found)
    for protocol, cer, lid in (
        ("v1", "all_cer", "all_lid_accuracy"),
        ("v2", "all_macro_cer", "all_macro_lid_accuracy"),
        ("challenge", "standard_cer", "standard_lid_accuracy"),
    ):
        assert (values[protocol, "test", cer], values[protocol, "test", lid]) == (0.0, 100.0)
    assert values["wer_cer", "test", "macro_cer"] == values["wer_cer", "test", "macro_wer"] == 0.0
    assert values["challenge_server", "test", "standard_lid_accuracy"] == 100.0
    assert found["wer_cer"]["metrics"]["test"]["macro_wer"]["without_words"] == ["cmn_hans_cn", "zh-CN"]


def test_a_code_that_only_predictions_have_is_known_by_them(utterance):
    one = utterance("en", "ab", "[fil_ph] AB")
    (unknown,) = utterance_counts([one], facts())
    (known,) = utterance_counts([replace(one, predicted_language="fil_ph")], facts())
    assert (unknown.errors, known.errors, known.lid_correct) == (8, 0, 0)


def test_what_is_shown_knows_them(utterance):
    ones = [utterance("zh-CN", "ab", "[en] AX", id="u"), utterance("en", "ab", "[en] AB", id="v")]
    tokens = language_tokens(ones)
    assert compared_texts(ones[0], facts(), tokens) == (" AB", " AX")
    assert "reference   [zh-CN] A{B}" in str(show_examples(ones, facts(), 2))
    assert "hypothesis  [en] A{X}" in str(show_examples(ones, facts(), 2))
    lines = list(chain(*(utterance_lines(pair, facts(), tokens) for pair in pair_utterances(ones, ones, facts()))))
    assert "  A          [en] A{X}" in lines


def test_facts_of_a_language_are_found_by_its_other_codes():
    assert group_of("family", dataset="d", language="zh-TW") == group_of("family", dataset="d", language="zho")
    assert (
        group_of("family", dataset="d", language="ja") == group_of("family", dataset="d", language="jpn") != "unknown"
    )
    assert group_of("family", dataset="d", language="qq-QQ") == "unknown"
