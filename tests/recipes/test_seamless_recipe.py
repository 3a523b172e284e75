"""The recipe that adapts a model of speech and text: which systems are trained on what, and tested on what."""

from __future__ import annotations

import pytest
from recipe_calls import call, dry_run

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose

FLAGS = (
    *("--model", "seamless_new", "--target", "swa", "--pivot", "tur", "--keep", "deu", "--data", "synthetic"),
    *("--text", "synthetic", "--out", "no/runs"),
)  # fmt: skip


def test_each_system_is_trained_on_its_own() -> None:
    commands = dry_run("seamless.sh", *FLAGS)
    made = {
        config["run_name"]: config
        for words in commands
        if words[0] == "mlsuperb.run"
        for config in [compose(words[1:])]
    }
    assert list(made) == [
        "zero_shot", "encoder", "encoder_wide", "lora", "decoder", "length_adaptor", "replay", "ewc", "text", "text_then_asr",
        "joint", "pivot",
    ]  # fmt: skip
    assert {name: one["train_on"] for name, one in made.items() if one["train_on"] != ["speech"]} == {
        "zero_shot": [],
        "text": ["text"],
        "joint": ["speech", "text"],
    }
    adapted = {name: one["adaptation"] for name, one in made.items()}
    assert (adapted["encoder"]["stack"], adapted["encoder"]["width"]) == ("encoder", 256)
    assert adapted["encoder_wide"]["width"] == 2048
    assert (adapted["lora"]["name"], adapted["lora"].get("stack", "encoder")) == ("lora", "encoder")
    assert (adapted["decoder"]["stack"], adapted["text"]["stack"]) == ("decoder", "decoder")
    assert adapted["pivot"]["stack"] == adapted["length_adaptor"]["stack"] == "length_adaptor"
    assert made["text_then_asr"]["start"]["run"] == f"no/runs/{made['text']['run_id']}"
    assert made["replay"]["loading"]["sampling"] == {
        "_target_": "mlsuperb.data.sampling.Replay", "new": ["swa"], "share": 0.2,
    }  # fmt: skip
    assert made["ewc"]["preservation"]["languages"] == ["deu"]
    assert adapted["replay"] == adapted["ewc"] == adapted["encoder"]
    assert all(one["text"]["target_language"] == "swa" for one in made.values() if one.get("text"))
    for name, one in made.items():
        if name != "text_then_asr":  # whose text has not been trained here
            assert find_problems(one) == [], name


def test_all_are_tested_on_the_target_and_what_is_kept() -> None:
    made = [compose(words[1:]) for words in dry_run("seamless.sh", *FLAGS) if words[0] == "mlsuperb.run"]
    for config in made:
        parts, splits = config["data"]["corpora"], config["data"]["splits"]
        tested = {code for name, part in parts.items() if "test" in splits[name] for code in part["languages"]}
        assert tested == {"swa", "deu"}
        trained = {code for name, part in parts.items() if "train" in splits[name] for code in part["languages"]}
        assert trained == {"pivot": {"tur"}, "replay": {"swa", "deu"}, "ewc": {"swa", "deu"}}.get(
            config["run_name"], {"swa"}
        )
        validated = {code for name, part in parts.items() if "dev" in splits[name] for code in part["languages"]}
        assert validated == ({"tur"} if config["run_name"] == "pivot" else {"swa"})


def test_what_is_kept_by_how_much() -> None:
    more = ("--share", "0.1", "--quota", "0.5", "--preservation.weight", "10", "--systems", "replay,ewc")
    commands = [words[1:] for words in dry_run("seamless.sh", *FLAGS, *more) if words[0] == "mlsuperb.run"]
    replay, ewc = map(compose, commands)
    assert replay["loading"]["sampling"]["share"] == 0.1
    assert ewc["preservation"]["weight"] == 10
    for config in (replay, ewc):
        assert config["data"]["corpora"]["kept"]["max_train_hours"] == 0.5
        assert "max_train_hours" not in config["data"]["corpora"]["target"]
        assert find_problems(config) == []


def test_seeds_of_a_system_are_one_line_of_the_table() -> None:
    commands = dry_run("seamless.sh", *FLAGS, "--seeds", "0,1", "--systems", "zero_shot,text,text_then_asr")
    runs = [compose(words[1:]) for words in commands if words[0] == "mlsuperb.run"]
    at = {(config["run_name"], config["seed"]): f"no/runs/{config['run_id']}" for config in runs}
    assert list(at) == [("zero_shot", 0), ("text", 0), ("text", 1), ("text_then_asr", 0), ("text_then_asr", 1)]
    later = {config["seed"]: config["start"]["run"] for config in runs if config["run_name"] == "text_then_asr"}
    assert later == {0: at["text", 0], 1: at["text", 1]}
    assert [config["run_name"] for config in runs if config.get("text")] == ["zero_shot", "text", "text"]
    table, _, gains, _ = [words for words in commands if words[0] != "mlsuperb.run" and "check" not in words]
    assert "--over-seeds" in table
    assert gains[0] == "mlsuperb.expansion"
    assert {f"{name}={at[name, 0]},{at[name, 1]}" for name in ("text", "text_then_asr")} <= set(gains)
    assert f"zero_shot={at['zero_shot', 0]}" in gains


def test_a_start_is_what_all_begin_with() -> None:
    made = [compose(words[1:]) for words in dry_run("seamless.sh", *FLAGS, "--start", "exp/base-00112233")[:3]]
    assert {config["start"]["run"] for config in made} == {"exp/base-00112233"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--target", "swa"], "--model is missing"),
        (
            ["--model", "seamless_m4t", "--target", "swa", "--datasets", "studio"],
            "--datasets is no flag of this recipe",
        ),
        (["--model", "seamless_m4t", "--target", "swa", "--lr-sweep"], "--lr-sweep is no flag of this recipe"),
        (
            ["--model", "seamless_m4t", "--target", "swa", "--text", "synthetic", "trainer.iterations_per_epoch=25"],
            "trainer.iterations_per_epoch=25: joint takes speech and text in turn",
        ),
        (
            ["--model", "seamless_m4t", "--target", "swa", "--systems", "text"],
            "--systems text: there are zero_shot encoder",
        ),
        (
            ["--model", "seamless_m4t", "--target", "swa", "--systems", "ewc"],
            "--systems ewc: there are zero_shot encoder",
        ),
    ],
)
def test_wrong_flags_are_refused(flags: list[str], message: str) -> None:
    done = call("recipes/seamless.sh", "--data", "synthetic", *flags)
    assert done.returncode == 2
    assert message in done.stderr
