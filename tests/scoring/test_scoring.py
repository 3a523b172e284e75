from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mlsuperb.scoring.counts import Counts, total
from mlsuperb.scoring.score import PROTOCOLS, Scoring, score


def test_counts_add_up():
    a = Counts(
        num_utterances=1, substitutions=1, insertions=2, deletions=3, reference_length=10, lid_correct=1, lid_total=1
    )
    b = Counts(num_utterances=2, substitutions=4, reference_length=10, lid_total=3)
    assert a + b == total([a, b])
    assert ((a + b).errors, (a + b).error_rate, (a + b).lid_accuracy) == (10, 50.0, 25.0)
    assert (Counts().error_rate, Counts().lid_accuracy) == (None, None)
    assert Counts.from_dict(a.to_dict(task="asr_lid")) == a
    assert a.to_dict(task="asr").keys() == {
        "num_utterances",
        "substitutions",
        "insertions",
        "deletions",
        "reference_length",
    }


def test_protocols_apply_by_task(utterance):
    ones = [utterance("eng", "a", "[eng] A")]
    cases = {
        ("asr_lid", "char"): {"v1", "v2", "challenge", "challenge_server"},
        ("asr", "char"): {"v1", "v2"},
        ("lid", "char"): {"v1"},
    }
    for (task, units), applying in cases.items():
        sections = score(ones, task=task, units=units)
        assert sections.keys() - {"not_applicable"} == applying
        assert sections["not_applicable"].keys() == set(PROTOCOLS) - applying
        assert all(sections["not_applicable"].values())
    assert score(ones, task="asr", protocols=["challenge"])["not_applicable"] == {
        "challenge": "needs language and transcript (task asr_lid), this is task asr"
    }


def test_phonemes_leave_only_v1(utterance, monkeypatch):
    monkeypatch.setattr("mlsuperb.data.phonemes.to_phonemes", lambda text, language: " ".join(text))
    sections = score([utterance("jpn", "ab", "A B")], task="asr", normaliser="v1_mono", units="phoneme")
    assert sections.keys() == {"v1", "not_applicable"}
    assert sections["v1"]["metrics"]["test"]["all_per"]["value"] == 0.0


def test_sections_are_strict_json_with_a_language_called_nan(utterance):
    sections = score([utterance("nan", "a", "[nan] A"), utterance("eng", "...", "")], task="asr_lid")
    text = json.dumps(sections, allow_nan=False)
    assert json.loads(text) == sections
    assert sections["v1"]["counts"]["test"]["fleurs"]["nan"]["lid_correct"] == 1
    assert set(sections["v2"]["per_language"]["test"]) == {"nan", "eng"}


def test_wrong_arguments():
    with pytest.raises(ValueError, match="there is no hypothesis"):
        score([], task="asr")


def test_wrong_names(utterance):
    ones = [utterance("eng", "a", "A")]
    with pytest.raises(ValueError, match="unknown task 'tts'; choose one of asr, lid, asr_lid"):
        score(ones, task="tts")
    with pytest.raises(ValueError, match="unknown protocol v3; choose from v1, v2, challenge, challenge_server"):
        score(ones, task="asr", protocols=["v3"])
    with pytest.raises(ValueError, match="unknown unit 'word'"):
        score(ones, task="asr", units="word")


def test_the_node_in_conf(utterance):
    node = yaml.safe_load((Path(__file__).parents[2] / "conf/scoring/default.yaml").read_text(encoding="utf-8"))
    assert node.pop("_target_") == "mlsuperb.scoring.score.Scoring"
    assert node.pop("name") == "default"
    scoring = Scoring(**node)
    assert scoring == Scoring()
    assert scoring.score([utterance("eng", "a", "A")], task="asr").keys() == {"v1", "v2", "not_applicable"}
