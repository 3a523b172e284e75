"""The recipe of language expansion: labels, trainings on them, and how the systems are judged."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_calls import call, dry_run

from mlsuperb.config.compose import compose
from mlsuperb.config.options import check_overrides

EXPAND = (
    *("--base", "mhubert_tiny", "--new", "kat", "--old", "deu,spa", "--data", "synthetic", "--units", "30"),
    *("--layer", "3", "--out", "no/runs"),
)  # fmt: skip


def test_an_expansion_is_labels_and_trainings_on_them() -> None:
    flags = ("--trainer", "debug", "--share", "0.3", "--stop-stage", "8")
    runs = [words[1:] for words in dry_run("expand.sh", *EXPAND, *flags) if words[0] == "mlsuperb.run"]
    assert all(check_overrides(words) == [] for words in runs)
    made = {config["run_name"]: config for config in map(compose, runs)}
    assert list(made) == ["units-mfcc", "one", "units-layer", "two", "units-pooled", "combined", "full"]
    at = {name: f"no/runs/{config['run_id']}" for name, config in made.items()}
    new, everything = ["kat"], ["kat", "deu", "spa"]
    assert [made[name]["data"]["languages"] for name in ("units-mfcc", "units-layer")] == [new, new]
    assert made["units-pooled"]["data"]["languages"] == everything
    assert {made[name]["upstream"]["run"] for name in ("units-layer", "units-pooled")} == {at["one"]}
    targets = {name: made[name]["targets"]["run"] for name in ("one", "two", "combined", "full")}
    assert targets == {
        "one": at["units-mfcc"],
        "two": at["units-layer"],
        "combined": at["units-pooled"],
        "full": at["units-layer"],
    }
    assert {made[name]["upstream"]["name"] for name in targets} == {"mhubert_tiny"}, "each begins with the base"
    assert {name: made[name]["adaptation"]["name"] for name in targets} == {
        **dict.fromkeys(("one", "two", "combined"), "lora"),
        "full": "full",
    }
    sampling = made["combined"]["loading"]["sampling"]
    assert (sampling["new"], sampling["share"]) == (new, 0.3)


def test_all_weights_can_be_kept_near_the_old_languages(tmp_path: Path) -> None:
    labels = str(tmp_path)
    flags = (
        *("--systems", "two,full,full_combined,ewc", "--base-labels", labels, "--stop-stage", "8", "--share", "0.3"),
        *("--lora-settings", "adaptation.rank=8 trainer.optimizer.lr=2e-3", "--full-settings", "trainer.optimizer.lr=1e-3"),
    )  # fmt: skip
    runs = [words[1:] for words in dry_run("expand.sh", *EXPAND, *flags) if words[0] == "mlsuperb.run"]
    made = {config["run_name"]: config for config in map(compose, runs)}
    assert list(made) == ["units-mfcc", "one", "units-layer", "two", "units-pooled", "full", "full_combined", "ewc"]
    rates = {name: made[name]["trainer"]["optimizer"]["lr"] for name in ("one", "two", "full", "full_combined", "ewc")}
    assert rates == {"one": 2e-3, "two": 2e-3, "full": 1e-3, "full_combined": 1e-3, "ewc": 1e-3}
    assert {made[name]["adaptation"]["rank"] for name in ("one", "two")} == {8}
    assert {made[name]["adaptation"]["name"] for name in ("full", "full_combined", "ewc")} == {"full"}
    at = {name: f"no/runs/{config['run_id']}" for name, config in made.items()}
    assert made["ewc"]["targets"]["run"] == made["full"]["targets"]["run"] == at["units-layer"]
    assert made["ewc"]["preservation"]["run"] == labels
    assert made["full_combined"]["targets"]["run"] == at["units-pooled"]
    assert made["full_combined"]["loading"]["sampling"]["share"] == 0.3


def test_first_units_of_the_base_are_those_of_its_layer() -> None:
    runs = [words[1:] for words in dry_run("expand.sh", *EXPAND, "--start", "base", "--stop-stage", "3")]
    labels, one = [compose(words) for words in runs if words[0].startswith(("job=", "+exp="))]
    assert (labels["upstream"]["name"], labels["extraction"]["layer"]) == ("mhubert_tiny", 3)
    assert one["targets"]["run"] == f"no/runs/{labels['run_id']}"


@pytest.mark.parametrize(
    ("what", "values", "bases"),
    [("rank", ("8", "24"), ["base"]), ("units", ("20", "30"), ["base-20", "base-30"]), ("share", ("0.1",), ["base"])],
)
def test_a_comparison_of_expansions_ends_in_one_table(what: str, values: tuple[str, ...], bases: list[str]) -> None:
    flags = ("--compare", what, "--values", ",".join(values), *EXPAND, "--exp", "demo", "--phones", "phones.tsv")
    commands = dry_run("expand_compare.sh", *flags)
    trained = [compose(words[1:]) for words in commands if words[0] == "mlsuperb.run"]
    last = commands[-1]
    assert last[0] == "mlsuperb.expansion"
    heads = dict(word.split("=") for word in last[1 : last.index("--units")])
    assert set(heads) == {*bases, *(f"{what}-{value}" for value in values)}
    ids = {f"no/runs/{config['run_id']}": config for config in trained}
    assert all(ids[folder]["run_name"].startswith("head-") for folder in heads.values())
    assert len(set(heads.values())) == len(heads) - (len(bases) - 1), "the base's head is the same one"
    if what == "rank":
        ranks = {(one["adaptation"]["rank"], one["adaptation"]["alpha"]) for one in trained if one["run_name"] == "one"}
        assert ranks == {(8, 16), (24, 48)}


def test_an_expansion_is_judged_on_new_and_old_languages() -> None:
    flags = ("--systems", "one", "--stage", "9", "--phones", "phones.tsv", "--exp", "demo")
    commands = dry_run("expand.sh", *EXPAND, *flags)
    runs = [compose(words[1:]) for words in commands if words[0] == "mlsuperb.run"]
    names = [config["run_name"] for config in runs]
    of_system = ["fit-new", "units-new", "fit-pooled", "units-pooled", "head"]
    assert names == [f"{one}-{system}" for system in ("base", "one") for one in of_system]
    for fit, units in zip(runs[0::5] + runs[2::5], runs[1::5] + runs[3::5], strict=True):
        assert units["labelling"]["run"] == f"no/runs/{fit['run_id']}"
        assert units["data"]["languages"] == ["kat", "deu", "spa"]
        assert list(units["labelling"]["splits"]) == ["test"]
    last = commands[10:]
    assert [words[0] for words in last] == [f"mlsuperb.{one}" for one in ("units", "table", "expansion", "report")]
    at = {config["run_name"]: f"no/runs/{config['run_id']}" for config in runs}
    assert {f"{one}={at[f'head-{one}']}" for one in ("base", "one")} <= set(last[2])
    assert {f"{one}={at[f'units-{fit}-{one}']}" for one in ("base", "one") for fit in ("new", "pooled")} <= set(last[2])
    assert all(config["data"]["languages"] == ["kat", "deu", "spa"] for config in runs[4::5])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--new", "kat", "--old", "deu"], "--base is missing"),
        (["--base", "tiny", "--new", "kat", "--old", "kat,deu"], "--new kat is among --old kat,deu"),
        (
            ["--base", "tiny", "--new", "kat", "--old", "deu", "--systems", "three"],
            "--systems three: there are one, two",
        ),
        (
            ["--base", "tiny", "--new", "kat", "--old", "deu", "--start", "noise"],
            "--start noise: there are mfcc and base",
        ),
        (["--base", "tiny", "--new", "kat", "--old", "deu", "--systems", "ewc"], "--systems ewc needs --base-labels"),
    ],
)
def test_wrong_flags_of_an_expansion_are_refused(flags: list[str], message: str) -> None:
    done = call("recipes/expand.sh", "--data", "synthetic", *flags)
    assert done.returncode == 2
    assert message in done.stderr


def test_help_of_an_expansion_shows_its_flags() -> None:
    done = call("recipes/expand.sh", "--help")
    assert done.returncode == 0
    assert "recipes/expand.sh " in done.stdout
    assert all(flag in done.stdout for flag in ("--base", "--new", "--old", "--share"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--compare", "luck"], "--compare luck: there are units, rank"),
        (["--compare", "rank"], "--exp is missing"),
        (["--compare", "rank", *EXPAND, "--exp", "demo", "--system", "three"], "--systems three: there are one, two"),
    ],
)
def test_wrong_flags_of_a_comparison_are_refused(flags: list[str], message: str) -> None:
    done = call("recipes/expand_compare.sh", *flags)
    assert done.returncode == 2
    assert message in done.stderr
