"""The node `benchmark` of the published experiments, and what of a run's settings leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlsuperb.benchmark.build import build_model
from mlsuperb.benchmark.misfits import TRACKS
from mlsuperb.benchmark.published import _coarser, _conventions, against_official, describe
from mlsuperb.benchmark.result import what_was_trained
from mlsuperb.commands import evaluate
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.config.options import conf_dir, options
from mlsuperb.run import run_experiment
from mlsuperb.runs.classes import class_named
from mlsuperb.runs.identity import science
from mlsuperb.scoring.boards.entries import shown_deviations

PUBLISHED = [
    name
    for name in options("exp", [conf_dir()])
    if name.startswith(("v1/", "v2/", "peft_study/")) and name.split("/")[1] not in ("first", "sweep")
]


def deviations(*overrides: str) -> dict[str, Any]:
    described = describe(compose(overrides))
    assert described is not None
    return described["deviations"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_experiment_names_itself_and_deviates_in_nothing(name: str) -> None:
    config = compose([f"+exp={name}", "data.root=/some/where", "upstream=tiny", "seed=3", "trainer.optimizer.lr=0.5"])
    node = describe(config)
    assert node is not None
    assert node["experiment"] == name
    assert node["track"] in TRACKS
    assert set(node) == {"experiment", "track", "size", "run", "deviations", "upstream"}
    assert node["deviations"] == node["upstream"] == {}


@pytest.mark.parametrize("name", ["v2/frozen", "v2/partial_top"])  # from which all others take it
def test_the_challenges_data_are_trained_on_as_they_are(name: str) -> None:
    """`download.py` of the challenge's recipe keeps case and punctuation; the benchmark of 2.0 reads the text of 1.0."""
    for data, normaliser in (("ml_superb_hf", "raw"), ("ml_superb_1h", "v1")):
        config = compose([f"+exp={name}", f"data={data}"])
        assert config["task"]["normaliser"] == normaliser
    assert deviations(f"+exp={name}", "data=ml_superb_hf") == {}
    changed = deviations(f"+exp={name}", "data=ml_superb_hf", "task.normaliser=v1")
    assert changed == {"task.normaliser": ["raw", "v1"]}


def test_the_loop_above_saw_them_all() -> None:
    assert len(PUBLISHED) >= 20


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["+exp=v1/asr_lid"], ("asr_lid", "10min", None)),
        (["+exp=v1/multi_asr", "data=ml_superb_1h"], ("multi_asr", "1h", None)),
        (["+exp=v1/mono_asr", "data.mono=eng1"], ("mono_asr", "10min", "eng1")),
        (["+exp=v1/lid", "data=ml_superb_hf"], ("lid", None, None)),
        (["+exp=v2/lora"], ("asr_lid", "1h", None)),
        (["+exp=peft_study/mono_asr"], ("mono_asr", "10min", "eng")),
        (["+exp=peft_study/mono_asr", "benchmark.run=xty"], ("mono_asr", "10min", "xty")),
        (["+exp=peft_study/lid"], ("lid", "10min", None)),
    ],
)
def test_track_size_and_run(overrides: list[str], expected: tuple[str, str | None, str | None]) -> None:
    node = compose([*overrides, "data.root=."])["benchmark"]
    assert (node["track"], node["size"], node["run"]) == expected


def test_no_part_of_a_runs_identity() -> None:
    config = compose(["+exp=v1/lid", "data.root=."])
    assert science(config) == science(config | {"benchmark": None})


@pytest.mark.parametrize("run", ["eng1", "jpn"])
def test_what_follows_from_the_monolingual_run_or_the_size_is_no_deviation(run: str) -> None:
    assert deviations("+exp=v1/mono_asr", f"data.mono={run}", "data.root=.") == {}
    assert deviations("+exp=v1/asr_lid", "data=ml_superb_1h", "data.root=.") == {}
    assert deviations("+exp=peft_study/mono_asr", "benchmark.run=swa", "data.root=.") == {}
    assert deviations("+exp=peft_study/mono_asr", "benchmark.run=swa", "data=synthetic") == {}


def test_settings_that_differ_are_named_with_both_values() -> None:
    found = deviations("+exp=v1/asr_lid", "data.root=.", "trainer.max_epochs=2", "data.languages=[eng]")
    assert found == {"trainer.max_epochs": [30, 2], "data.languages": [None, ["eng"]]}
    assert deviations("+exp=v1/mono_asr", "data.mono=jpn", "data.root=.", "task.units=char") == {
        "task.units": ["phoneme", "char"]
    }


def test_japanese_phonemes_by_another_dictionary_are_a_deviation() -> None:
    packages = {"pyopenjtalk-plus": "0.4.1", "pypinyin": "0.53.0"}
    for run, expected in (("jpn", {"phonemes of jpn": ["pyopenjtalk", "pyopenjtalk-plus 0.4.1"]}), ("cmn", {})):
        node = describe(compose(["+exp=v1/mono_asr", f"data.mono={run}", "data.root=."]), packages=packages)
        assert node is not None
        assert node["deviations"] == expected
    node = describe(compose(["+exp=v1/mono_asr", "data.mono=jpn", "data.root=."]), packages={"pyopenjtalk": "0.4.1"})
    assert node is not None
    assert node["deviations"] == {}


def test_another_option_stands_with_both_names() -> None:
    found = deviations("+exp=v1/asr_lid", "data.root=.", "adaptation=lora", "head=linear")
    assert found["adaptation"] == ["frozen", "lora"]
    assert found["head"] == ["transformer", "linear"]
    assert found["adaptation.rank"][0] is None
    assert shown_deviations(found) == ["adaptation frozen -> lora", "head transformer -> linear"]


def test_another_optimiser_is_a_deviation() -> None:
    assert "trainer.optimizer._target_" in deviations("+exp=v1/asr_lid", "data.root=.", "trainer=default")


def test_the_adaptation_of_the_experiment_is_none() -> None:
    assert deviations("+exp=v2/lora", "data.root=.", "upstream=tiny") == {}
    assert deviations("+exp=v2/lora", "data.root=.", "adaptation=houlsby")["adaptation"] == ["lora_v2", "houlsby"]


def test_another_checkpoint_under_the_name_of_an_option_is_told() -> None:
    node = describe(compose(["+exp=v1/lid", "data.root=.", "upstream=hubert_base", "upstream.checkpoint=some/other"]))
    assert node is not None
    assert node["deviations"] == {}
    assert node["upstream"] == {"checkpoint": ["facebook/hubert-base-ls960", "some/other"]}


def test_an_upstream_that_is_not_run_as_the_published_rows_deviates() -> None:
    config = compose(["+exp=v1/lid", "upstream=hubert_base", "data.root=.", "upstream.conventions=checkpoint"])
    described = describe(config, conventions="checkpoint")
    assert described is not None
    assert described["deviations"] == {"upstream.conventions": ["s3prl", "checkpoint"]}
    assert shown_deviations(described["deviations"]) == ["upstream.conventions s3prl -> checkpoint"]


def test_a_result_says_under_which_conventions_its_upstream_is_run() -> None:
    config = compose(["+exp=v1/lid", "upstream=mhubert_tiny", "data.root=."])
    found = what_was_trained(config, build_model(config, vocab_size=9))["upstream"]
    assert found["conventions"] == found["settings"]["conventions"] == found["loaded"]["conventions"] == "s3prl_hf"
    config = compose(["upstream=mhubert_tiny"])
    found = what_was_trained(config, build_model(config, vocab_size=9))["upstream"]
    assert found["conventions"] == "checkpoint"
    assert "conventions" not in found["settings"] | found["loaded"], "as in results from before"
    config = compose(["+exp=v1/lid", "data.root=."])
    assert what_was_trained(config, build_model(config, vocab_size=9))["upstream"]["conventions"] is None


@pytest.mark.parametrize(
    ("experiment", "option", "here", "expected"),
    [
        ("s3prl", "s3prl", "s3prl", None),
        ("s3prl", "s3prl", "checkpoint", ["s3prl", "checkpoint"]),
        ("s3prl", "s3prl", "s3prl_hf", ["s3prl", "s3prl_hf"]),
        ("s3prl", "s3prl_hf", "s3prl_hf", None),
        ("s3prl", None, "s3prl", None),  # upstream=s3prl, with either kind, or a user's own option
        ("s3prl", None, "s3prl_hf", None),
        ("s3prl", None, "checkpoint", ["s3prl", "checkpoint"]),
        ("s3prl", None, None, None),  # log-mels, Whisper, w2v-BERT 2.0
        (None, None, "checkpoint", None),
        ("checkpoint", None, "checkpoint", None),
    ],
)
def test_which_conventions_deviate(
    experiment: str | None, option: str | None, here: str | None, expected: list[str] | None
) -> None:
    published = {"benchmark": {"conventions": experiment}, "upstream": {"conventions": option}}
    assert _conventions(published, here) == ({"upstream.conventions": expected} if expected else {})


def test_a_cache_that_rounds_more_than_the_experiment_asks_for_is_a_deviation() -> None:
    v1 = ["+exp=v1/lid", "upstream=tiny", "data.root=."]
    assert compose(v1)["cache"]["dtype"] == "int16"
    assert deviations(*v1, "cache=off") == {}
    assert deviations(*v1, "cache=bf16") == {"cache.dtype": ["int16", "bf16"]}
    assert [_coarser("int16", here) for here in ("int8", "bf16", "int16", "fp32", None)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [_coarser("bf16", here) for here in ("int8", "bf16", "int16", "fp32", None)] == [True, *[False] * 4]


def test_what_is_never_kept_has_the_ids_from_before_int16() -> None:
    config = {option: compose([f"upstream={option}", "cache=int16"]) for option in options("upstream", [conf_dir()])}
    cheap = {option for option, one in config.items() if class_named(one["upstream"]["_target_"]).cheap}
    assert cheap == {"fbank", "fbank_10ms", "mfcc", "kaldi_mfcc"}
    assert {option for option, one in config.items() if one["cache"]["dtype"] == "bf16"} == cheap


def test_the_study_was_published_with_three_adaptations_and_seven_runs() -> None:
    study = ["+exp=peft_study/mono_asr", "data.root=.", "benchmark.run=swe"]
    assert deviations(*study, "adaptation=lora_peft_study") == {}
    assert deviations(*study, "adaptation=lora_peft_study", "adaptation.rank=16") == {"adaptation.rank": [8, 16]}
    assert deviations(*study, "adaptation=houlsby")["adaptation"] == ["frozen", "houlsby"]


def test_no_experiment_no_benchmark() -> None:
    assert describe(compose(["+exp=demo"])) is None
    assert describe({}) is None, "settings from before the node was there"
    (reason,) = against_official(None, {"name": "7th", "whole": True, "why": ""}, synthetic=False)
    assert reason.startswith("no published experiment")


def test_an_experiment_that_is_gone_does_not_cost_a_result() -> None:
    config = compose(["+exp=v1/lid", "data.root=."])
    config["benchmark"]["experiment"] = "v1/gone"
    (path, (_, why)) = next(iter(describe(config)["deviations"].items()))  # type: ignore[index]
    assert path == "benchmark"
    assert "v1/gone" in why


def test_why_a_run_is_not_official() -> None:
    node = {"experiment": "v1/lid", "track": "lid", "size": "10min", "run": None, "deviations": {}}
    whole = {"name": "7th", "whole": True, "why": ""}
    assert against_official(node, whole, synthetic=False) == []
    assert against_official(node, None, synthetic=True) == []
    assert against_official(node, None, synthetic=False) == ["the data are no published release"]
    (deviating,) = against_official(node | {"deviations": {"seed": [0, 1]}}, whole, synthetic=False)
    assert deviating == "not as +exp=v1/lid: seed 0 -> 1"
    (partial,) = against_official(node, whole | {"whole": False, "why": "2 pairs missing"}, synthetic=False)
    assert partial == "the 7th release is not whole: 2 pairs missing"


def test_a_node_that_was_typed_wrong_is_refused() -> None:
    config = compose(["+exp=demo"])
    assert find_problems(config) == []
    (found,) = find_problems(config | {"benchmark": {"track": "lid"}})
    assert "must be null or have the keys" in found
    node = {"experiment": "v1/lid", "track": "speech", "size": None, "run": None}
    (found,) = find_problems(config | {"benchmark": node})
    assert "benchmark.track='speech' must be one of mono_asr" in found


def test_a_run_records_it_and_an_evaluation_on_other_data_is_none_of_it(tmp_path: Path) -> None:
    corpus = ["data=synthetic", f"data.root={tmp_path / 'data'}", "data.minutes=0.2", "data.test_minutes=0.1"]
    small = ["upstream=tiny", "trainer=debug", "decoding=greedy", f"output_root={tmp_path / 'exp'}"]
    config = compose(["+exp=v1/lid", *corpus, "data.languages=[deu,swa]", *small])
    run_experiment(config)
    folder = tmp_path / "exp" / config["run_id"]
    result = json.loads((folder / "result.json").read_text())
    node = result["benchmark"]
    assert (node["experiment"], node["track"], node["size"], node["run"]) == ("v1/lid", "lid", "10min", None)
    assert node["deviations"]["decoding"] == ["prefix_beam", "greedy"]
    assert node["deviations"]["data.minutes"] == [None, 0.2]
    assert not result["official"]
    assert result["not_official_because"][0].startswith("not as +exp=v1/lid: decoding prefix_beam -> greedy")
    assert "synthetic data" in result["not_official_because"]
    other = evaluate.evaluate(folder, [*corpus, "data.languages=[swa]"], device="cpu")
    assert json.loads((other / "result.json").read_text())["benchmark"] is None
