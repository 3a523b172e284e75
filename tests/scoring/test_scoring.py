from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from finished_runs import facts, scored

from mlsuperb.runs import classes
from mlsuperb.scoring.counts import Counts, total
from mlsuperb.scoring.protocols import get, names
from mlsuperb.scoring.score import Scoring


def test_counts_add_up():
    a = Counts(
        num_utterances=1, substitutions=1, insertions=2, deletions=3, reference_length=10, lid_correct=1, lid_total=1
    )
    b = Counts(num_utterances=2, substitutions=4, reference_length=10, lid_total=3)
    assert a + b == total([a, b])
    assert ((a + b).errors, (a + b).error_rate, (a + b).lid_accuracy) == (10, 50.0, 25.0)
    assert (Counts().error_rate, Counts().lid_accuracy) == (None, None)
    assert Counts(**a.to_dict(facts())) == a
    assert a.to_dict(facts("asr")).keys() == {
        "num_utterances",
        "substitutions",
        "insertions",
        "deletions",
        "reference_length",
    }


def test_protocols_apply_by_task(utterance):
    ones = [utterance("eng", "a", "[eng] A")]
    every = {"v1", "v2", "wer_cer", "challenge", "challenge_server"}
    cases = {"asr_lid": every, "asr": {"v1", "v2", "wer_cer"}, "lid": {"v1"}}
    for task, applying in cases.items():
        found = Scoring().score(ones, facts(task))
        assert found.sections.keys() == applying
        assert found.not_applicable.keys() == set(names()) - applying
        assert all(found.not_applicable.values())
    assert Scoring(protocols=["challenge"]).score(ones, facts("asr")).not_applicable == {
        "challenge": "needs language and transcript (task asr_lid), this is task asr"
    }
    assert Scoring(protocols=["v2"]).why_nothing(facts("lid")) == "v2 needs transcripts, task lid has none"
    assert Scoring().why_nothing(facts("lid")) == ""


def test_phonemes_leave_only_v1(utterance, monkeypatch):
    monkeypatch.setattr("mlsuperb.data.phonemes.to_phonemes", lambda text, language: " ".join(text))
    sections = scored([utterance("jpn", "ab", "A B")], facts("asr", normaliser="v1_mono", units="phoneme"))
    assert sections.keys() == {"v1", "not_applicable"}
    assert sections["v1"]["metrics"]["test"]["all_per"]["value"] == 0.0


def test_sections_are_strict_json_with_a_language_called_nan(utterance):
    sections = scored([utterance("nan", "a", "[nan] A"), utterance("eng", "...", "")])
    text = json.dumps(sections, allow_nan=False)
    assert json.loads(text) == sections
    assert sections["v1"]["counts"]["test"]["fleurs"]["nan"]["lid_correct"] == 1
    assert set(sections["v2"]["per_language"]["test"]) == {"nan", "eng"}


def test_nothing_to_score():
    with pytest.raises(ValueError, match="there is no hypothesis"):
        Scoring().score([], facts())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v3", "there is no protocol 'v3'; nearest: v2, v1, challenge.*given by its address"),
        (
            "nowhere.wer",
            "protocol 'nowhere.wer' cannot be used: nowhere.wer cannot be imported: No module named 'nowhere'",
        ),
        ("json.dumps", "json.dumps is no protocol: it lacks name, version"),
        (
            "json.loads",
            "protocol 'json.loads' cannot be used: 'json.loads' is no part of mlsuperb, and the user has not",
        ),
    ],
)
def test_wrong_names(utterance, name, message, monkeypatch):
    monkeypatch.setattr(classes, "_brought", {"nowhere.wer", "json.dumps"})  # as on a command line of the user
    with pytest.raises(ValueError, match=message):
        Scoring(protocols=["v1", name]).score([utterance("eng", "a", "A")], facts("asr"))
    (problem,) = Scoring.problems(protocols=["v1", name])
    assert re.search(message, problem)


@pytest.mark.parametrize("name", names())
def test_every_protocol_says_what_it_is(utterance, name):
    protocol = get(name)
    assert (protocol.name, bool(protocol.title)) == (name, True)
    of = facts()
    of = replace(of, units="phone") if protocol.why_not(of) else of
    section = Scoring(protocols=[name]).score([utterance("eng", "a", "[eng] A")], of).sections[name]
    kinds = {
        metric.removeprefix("trained_").removeprefix("reserved_").removeprefix("all_")
        for metric in section.metrics["test"]
    }
    assert kinds <= protocol.meanings.keys()
    assert protocol.headline.keys() <= section.metrics["test"].keys() | {"trained_per"}


def test_the_nodes_in_conf(utterance):
    """Words are for jobs that ask for them: tables of benchmark runs stay what they were."""
    folder = Path(__file__).parents[2] / "conf/scoring"
    node, with_words, of_phones = (
        yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in ("default", "wer_cer", "per_pfer")
    )
    assert node.pop("_target_") == "mlsuperb.scoring.score.Scoring"
    assert node.pop("name") == "default"
    assert with_words["protocols"] == [name for name in Scoring().protocols if name != "per_pfer"], "all of characters"
    applying = Scoring().score([utterance("eng", "a", "a")], facts("asr", units="phone")).sections
    assert set(of_phones["protocols"]) == applying.keys(), "all of phones"
    scoring = Scoring(**node)
    assert {*Scoring().protocols} - {*scoring.protocols} == {"wer_cer", "per_pfer"}
    assert scoring.score([utterance("eng", "a", "A")], facts("asr")).sections.keys() == {"v1", "v2"}
