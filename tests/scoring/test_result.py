from __future__ import annotations

import copy
import json
import math
import re

import pytest

from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.scoring.result import OPTIONAL, SCHEMA, build_result, comparable, read_result, write_result
from mlsuperb.scoring.score import score


@pytest.fixture
def ones(utterance):
    return [utterance("nan", "abcd", "[nan] ABCX"), utterance("eng", "abcd", "[eng] ABCD")]


@pytest.fixture
def arguments(tmp_path, ones):
    path = tmp_path / "hypotheses.jsonl"
    write_hypotheses(path, ones)
    return {
        "run_id": "fbank-12345678",
        "task": "asr_lid",
        "normaliser": "v1",
        "units": "char",
        "data": {
            "name": "ml_superb_10min",
            "synthetic": False,
            "splits": {
                "train": {"sha256": "1" * 64, "num_utterances": 5, "duration_s": 10.0},
                "test": {"sha256": "2" * 64, "num_utterances": 2, "duration_s": 2.0},
            },
            "skipped": {},
        },
        "protocols": score(ones, task="asr_lid"),
        "hypotheses": path,
        "upstream": {"name": "fbank"},
        "adaptation": {"name": "frozen"},
        "head": {"name": "transformer"},
        "num_trainable": 10,
        "num_total": 20,
        "config": {"seed": 0},
        "seed": 0,
        "environment": {"package_version": "0.1", "code": {"commit": "abc", "dirty": False}, "python": "3.11"},
        "training": {"num_unaligned": 0},
        "cost": {"steps": 3},
        "date": "2026-01-01T00:00:00+00:00",
    }


def test_round_trip(tmp_path, arguments):
    result = build_result(**arguments)
    path = tmp_path / "result.json"
    write_result(path, result)
    assert read_result(path) == json.loads(json.dumps(result))
    assert result.keys() == {*SCHEMA, *OPTIONAL}
    assert result["official"]
    assert result["not_official_because"] == []
    assert result["scorer"]["protocols"] == {"v1": "1", "v2": "1", "challenge": "1", "challenge_server": "1"}
    assert result["hypotheses"]["num_utterances"] == {"test": 2}
    assert result["code"] == {"commit": "abc", "dirty": False, "package_version": "0.1"}
    assert result["env"] == {"python": "3.11"}
    assert "nan" in result["protocols"]["v1"]["counts"]["test"]["fleurs"]


def test_what_speaks_against_an_official_result(arguments):
    arguments["data"] = copy.deepcopy(arguments["data"]) | {"synthetic": True}
    arguments["data"]["splits"]["test"]["num_utterances"] = 3
    arguments["data"]["splits"]["dev_dialect"] = {"sha256": "5" * 64, "num_utterances": 4, "duration_s": 1.0}
    arguments["environment"]["code"]["dirty"] = True
    result = build_result(**arguments, not_official_because=["the release is not whole"])
    assert not result["official"]
    assert result["synthetic"]
    assert result["not_official_because"] == [
        "the release is not whole",
        "synthetic data",
        "the code was changed since its commit",
        "split test: 2 hypotheses for 3 utterances",
        "split dev_dialect: 0 hypotheses for 4 utterances",
    ]


def test_nan_is_refused_and_nothing_is_written(tmp_path, arguments):
    path = tmp_path / "result.json"
    with pytest.raises(ValueError, match=r"result\.json cannot be written as JSON.*must be null"):
        write_result(path, build_result(**arguments) | {"cost": {"wall_s": math.nan}})
    assert not path.exists()


def test_reading_something_else(tmp_path, arguments):
    path = tmp_path / "result.json"
    good = json.loads(json.dumps(build_result(**arguments)))
    cases = [
        ("{", r"result\.json is not a result"),
        ("[]", "expected a JSON object"),
        (json.dumps(good | {"schema_version": 99}), "schema_version is 99, this code reads 1"),
        (json.dumps({key: value for key, value in good.items() if key != "seed"}), "missing seed"),
        (json.dumps(good | {"data": {"name": "x"}}), r"missing data\.splits"),
        (json.dumps(good | {"seed": math.nan}), "NaN is not JSON"),
    ]
    for text, message in cases:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_result(path)
    with pytest.raises(ValueError, match="there is no file"):
        read_result(tmp_path / "none.json")


def test_comparable(arguments):
    a = build_result(**arguments)
    assert comparable(a, copy.deepcopy(a)) == []

    def changed(*keys, to):
        b = json.loads(json.dumps(a))
        node = b
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = to
        return b

    cases = [
        (changed("data", "splits", "test", "sha256", to="3" * 64), "data differ in split test .*22222222.*33333333"),
        (changed("data", "splits", "dev", to={"sha256": "4" * 64}), "data differ in split dev .*none and sha256 4444"),
        (changed("protocols", "v2", "version", to="2"), "protocol v2 differs: version 1.*version 2"),
        (changed("protocols", "v1", "normaliser", "name", to="raw"), "protocol v1 differs"),
        (changed("normaliser", "version", to="2"), "normaliser differs: v1 1 and v1 2"),
        (changed("scorer", "version", to="0"), "scorer differs"),
        (changed("task", "name", to="asr"), "task differs: asr_lid and asr"),
        (changed("task", "units", to="phoneme"), "units differs"),
        (changed("synthetic", to=True), "synthetic"),
        (changed("protocols", to={"other": a["protocols"]["v1"]}), "no protocol in common"),
    ]
    for b, message in cases:
        (reason,) = comparable(a, b)
        assert re.search(message, reason), reason
    # only what both were scored with is compared
    assert comparable(a, changed("protocols", to={"v1": a["protocols"]["v1"]})) == []


def test_the_featurizer_is_a_key_that_older_results_have_not(tmp_path, arguments):
    path = tmp_path / "result.json"
    older = build_result(**arguments)
    del older["featurizer"]
    write_result(path, older)
    assert "featurizer" not in read_result(path)
    featurizer = {"name": "weighted_sum", "num_layers": 2, "layer_weights": [0.25, 0.75]}
    write_result(path, build_result(**arguments, featurizer=featurizer))
    assert read_result(path)["featurizer"] == featurizer
    with pytest.raises(ValueError, match=r"missing featurizer\.layer_weights"):
        build_result(**arguments, featurizer={"name": "weighted_sum"})
