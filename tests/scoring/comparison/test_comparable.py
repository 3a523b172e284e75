from __future__ import annotations

import json
import re

import pytest
from finished_runs import result_of

from mlsuperb.runs import store
from mlsuperb.scoring.comparison.comparable import comparable
from mlsuperb.scoring.result import BenchmarkResult

SPLITS = {"train": {"sha256": "1" * 64, "num_utterances": 5}, "test": {"sha256": "2" * 64, "num_utterances": 2}}


@pytest.fixture
def result(utterance) -> BenchmarkResult:
    ones = [utterance("nan", "abcd", "[nan] ABCX"), utterance("eng", "abcd", "[eng] ABCD")]
    return result_of(ones, data={"name": "d", "splits": SPLITS})


def content(result: BenchmarkResult, *keys: str, to: object) -> dict:
    """The file of a result with one value changed."""
    whole = json.loads(json.dumps(result.model_dump(exclude_unset=True)))
    node = whole
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = to
    return whole


@pytest.mark.parametrize(
    ("keys", "to", "message"),
    [
        (("data", "splits", "test", "sha256"), "3" * 64, "data differ in split test .*22222222.*33333333"),
        (("data", "splits", "dev"), {"sha256": "4" * 64}, "data differ in split dev .*none and sha256 4444"),
        (("protocols", "v2", "version"), "2", "protocol v2 differs: version 1.*version 2"),
        (("protocols", "v1", "normaliser", "name"), "raw", "protocol v1 differs"),
        (("normaliser", "version"), "2", "normaliser differs: v1 1 and v1 2"),
        (("scorer", "version"), "0", "scorer differs"),
        (("task", "name"), "asr", "task differs: asr_lid and asr"),
        (("task", "units"), "phoneme", "units differs"),
        (("synthetic",), True, "synthetic"),
        (("protocols",), {}, "no protocol in common"),
    ],
)
def test_what_differs_is_not_comparable(result, keys, to, message):
    other = BenchmarkResult.model_validate(content(result, *keys, to=to))
    (reason,) = comparable(result, other)
    assert re.search(message, reason), reason


def test_only_what_both_were_scored_with_is_compared(result):
    v1 = content(result, "x", to=0)["protocols"]["v1"]
    assert comparable(result, result) == []
    assert comparable(result, BenchmarkResult.model_validate(content(result, "protocols", to={"v1": v1}))) == []


def test_a_file_is_written_as_it_was_read_and_unknown_keys_stay(result, tmp_path):
    whole = content(result, "cost", to={"of_a_newer_version": 1}) | {"also_newer": [1, None]}
    (tmp_path / "result.json").write_text(json.dumps(whole), encoding="utf-8")
    store.write(tmp_path, store.read(tmp_path, BenchmarkResult))
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == whole


def test_the_facts_of_older_tasks_are_filled_in(result, tmp_path):
    for name, units, expected in (
        ("asr", "phoneme", (True, False, "PER")),
        ("lid", "char", (False, True, "CER")),
        ("asr_lid", "char", (True, True, "CER")),
    ):
        older = content(result, "task", to={"name": name, "units": units})
        (tmp_path / "result.json").write_text(json.dumps(older), encoding="utf-8")
        facts = store.read(tmp_path, BenchmarkResult).facts
        assert (facts.has_text, facts.has_language, facts.unit_name) == expected
        assert (facts.name, facts.units, facts.normaliser) == (name, units, "v1")
    unknown = content(result, "task", to={"name": "tts", "units": "char"})
    (tmp_path / "result.json").write_text(json.dumps(unknown), encoding="utf-8")
    with pytest.raises(ValueError, match=r"not a whole result: task\.has_text: field required"):
        store.read(tmp_path, BenchmarkResult)


def test_the_featurizer_is_a_key_that_older_results_have_not(result):
    assert result.featurizer is None
    assert "featurizer" not in result.model_dump(exclude_unset=True)
    whole = content(result, "featurizer", to={"name": "weighted_sum", "num_layers": 2, "layer_weights": [0.25, 0.75]})
    assert BenchmarkResult.model_validate(whole).featurizer.layer_weights == [0.25, 0.75]
    with pytest.raises(ValueError, match="layer_weights"):
        BenchmarkResult.model_validate(content(result, "featurizer", to={"name": "weighted_sum"}))


HUBERT = {"_target_": "mlsuperb.upstreams.huggingface.HuggingFace", "checkpoint": "facebook/hubert-base-ls960"}
S3PRL = {"_target_": "mlsuperb.upstreams.s3prl.S3prl"}
WAVES = {"do_normalize": True, "do_normalize_source": "preprocessor_config.json"}
MELS = {"do_normalize": False, "do_normalize_source": "the model reads normalised log-mels"}
CONVENTIONS, BF16 = {"upstream.conventions": ["s3prl", "checkpoint"]}, {"cache.dtype": ["int16", "bf16"]}


@pytest.mark.parametrize(
    ("upstream", "loaded", "cache", "adaptation", "expected"),
    [
        (HUBERT, WAVES, "bf16", "frozen", CONVENTIONS | BF16),
        (HUBERT, WAVES, "fp32", "frozen", CONVENTIONS),
        (HUBERT, WAVES, "bf16", "lora", CONVENTIONS),
        (HUBERT, MELS, "bf16", "frozen", BF16),
        (S3PRL, WAVES, "fp32", "frozen", {}),
        ({"_target_": "mlsuperb.upstreams.fbank.Fbank"}, {}, "bf16", "frozen", {}),
    ],
)
def test_results_of_1_0_from_before_they_named_it_deviate(result, upstream, loaded, cache, adaptation, expected):
    benchmark = {"experiment": "v1/lid", "track": "lid", "deviations": {}}
    older = content(result, "benchmark", to=benchmark) | {
        "config": {"upstream": upstream, "cache": {"dtype": cache}},
        "upstream": {"name": "u", "loaded": loaded},
        "adaptation": {"name": adaptation},
    }
    found = BenchmarkResult.model_validate(older)
    assert found.benchmark.deviations == expected
    assert found.official is (not expected)
    assert [one.startswith("not as +exp=v1/lid: ") for one in found.not_official_because] == [True] * bool(expected)
    newer = older | {"upstream": older["upstream"] | {"conventions": None}}
    assert BenchmarkResult.model_validate(newer).benchmark.deviations == {}
    other = older | {"benchmark": benchmark | {"experiment": "v2/frozen"}}
    assert BenchmarkResult.model_validate(other).official
