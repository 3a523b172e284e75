"""Recipes of the benchmark: honest help, commands that the program accepts, the runs and tables of each track."""

from __future__ import annotations

import json

import pytest
from recipe_calls import OF_BENCHMARK, ROOT, call, dry_run

from mlsuperb.config.compose import compose
from mlsuperb.config.options import check_overrides
from mlsuperb.data.corpora.fleurs import languages as fleurs_languages
from mlsuperb.scoring.protocols.v1 import RESERVED_LANGUAGES

BASE = ("--data-root", "no/data", "--upstream", "tiny", "--out", "no/runs", "--head", "linear")
OWN_FLAGS = {
    "all_v1.sh": ("--size", "1h", "--check", "--tolerance", "2"),
    "evidence.sh": ("--beside", "tiny", "--mono-root", "no/data"),
    "fleurs.sh": ("--task", "both", "--languages", "deu,nan"),
    "layer_sweep.sh": ("--num-blocks", "24"),
    "peft_study.sh": ("--adaptation", "frozen", "--languages", "eng,fra,deu,rus,swa,swe,xty"),
    "transfer.sh": ("--languages", "deu,nan", "--datasets", "fleurs"),
    "v2.sh": ("--experiments", "frozen,first/middle_against_full,lora"),
}
MODULES = {"analyse", "data", "evaluate", "export", "leaderboard", "report", "results", "run", "score", "table"}


def commands_of(recipe: str) -> list[list[str]]:
    """Of a dry run with flags of all kinds."""
    return dry_run(recipe, *BASE, *OWN_FLAGS.get(recipe, ()))


def of_module(recipe: str, module: str) -> list[list[str]]:
    """The words behind the module in those commands."""
    return [words[1:] for words in commands_of(recipe) if words[0] == f"mlsuperb.{module}"]


@pytest.mark.parametrize("recipe", OF_BENCHMARK)
def test_a_dry_run_prints_commands_that_exist(recipe: str) -> None:
    commands = commands_of(recipe)
    assert {words[0].split(".")[1] for words in commands} <= MODULES
    assert commands[0][:2] == ["mlsuperb.data", "check"]
    assert "data.root=no/data" in commands[0]
    runs = of_module(recipe, "run")
    assert runs
    for words in runs:
        assert words[0] == "-m"
        assert {"upstream=tiny", "output_root=no/runs", "head=linear"} < set(words)
        assert check_overrides(words) == []
    [table] = of_module(recipe, "table")
    assert all(word.startswith("no/runs/") and "tiny-" in word for word in table)
    assert not (ROOT / "no").exists()


@pytest.mark.parametrize("recipe", OF_BENCHMARK)
def test_help_shows_every_flag(recipe: str) -> None:
    done = call(f"recipes/{recipe}", "--help")
    assert done.returncode == 0
    assert f"recipes/{recipe} " in done.stdout
    assert ("--lr-sweep [LIST]" in done.stdout) == (recipe != "evidence.sh"), "which refuses it"
    own = (ROOT / "recipes" / recipe).read_text(encoding="utf-8").partition("option=(")[2].partition(")\n")[0]
    for word in own.split("["):
        assert word.partition("]")[0] in done.stdout


@pytest.mark.parametrize("recipe", ["all_v1.sh", "asr_lid.sh", "lid.sh", "multilingual_asr.sh"])
def test_the_built_in_corpus_fills_the_few_shot_columns(recipe: str) -> None:
    words = next(
        words for words in dry_run(recipe, "--data", "synthetic", "--stage", "2") if words[0] == "mlsuperb.run"
    )
    languages = compose([word for word in words[2:] if not word.startswith("+exp")])["data"]["languages"]
    assert len(set(languages) & RESERVED_LANGUAGES) == 2
    assert len(languages) == 8


def test_the_monolingual_track_is_13_runs_or_those_asked_for() -> None:
    assert len(of_module("monolingual.sh", "table")[0]) == 13
    commands = dry_run("monolingual.sh", *BASE, "--languages", "eng,deu2,swa,kor")
    [words] = [words for words in commands if words[0] == "mlsuperb.run"]
    assert "data.mono=eng1,eng2,eng3,deu2,swa" in words
    assert not any(word.startswith("data.languages") for word in words)
    done = call("recipes/monolingual.sh", "--data-root", "x", "--languages", "kor")
    assert done.returncode == 2
    assert "--languages kor: the monolingual track has eng (eng1 eng2 eng3)" in done.stderr


@pytest.mark.parametrize(
    ("recipe", "flags", "message"),
    [
        ("lid.sh", ["--board", "2025"], "there is no board '2025'; choose one of 2024, 2023"),
        ("all_v1.sh", ["--tolerance", "much"], "argument --tolerance: invalid float value: 'much'"),
        ("peft_study.sh", ["--size", "1h"], "board peft_study has no size 1h; it has 10min"),
        ("transfer.sh", ["--across", "datasets", "--datasets", "all"], "name them, such as --datasets mls,nchlt"),
        ("fleurs.sh", ["--task", "st"], "--task st: there are asr, lid, both"),
    ],
)
def test_what_the_tables_cannot_do_is_said_before_anything_is_trained(
    recipe: str, flags: list[str], message: str
) -> None:
    done = call(f"recipes/{recipe}", "--data-root", "x", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_layer_sweep_covers_every_layer_and_slides_a_window() -> None:
    layers, windows = (words[2] for words in of_module("layer_sweep.sh", "run"))
    assert layers == "featurizer.layer=range(25)"
    assert windows == "adaptation.layers=1-6,4-9,7-12,10-15,13-18,16-21,19-24"  # as conf/exp/v2/sweep/layer_window.yaml
    assert [len(words) for words in of_module("layer_sweep.sh", "analyse")] == [1 + 25 + 2, 1 + 7 + 2]


def test_transfer_tests_every_model_on_all() -> None:
    [train] = of_module("transfer.sh", "run")
    assert {'data.languages=["deu"],["nan"]', 'data.datasets=["fleurs"]'} < set(train)
    tests = [words[1:] for words in of_module("transfer.sh", "evaluate")]
    assert len(tests) == 2
    for words in tests:
        assert {'data.languages=["deu","nan"]', 'data.datasets=["fleurs"]', "data.root=no/data"} < set(words)
        assert check_overrides(words) == []
    done = call("recipes/transfer.sh", "--data-root", "x", "--across", "oceans")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--across oceans: there are languages, datasets" in done.stderr


def test_fleurs_is_a_recogniser_for_each_language_and_one_model_for_all() -> None:
    asr, lid = (words[2:] for words in of_module("fleurs.sh", "run"))
    assert 'data.languages=["deu"],["nan"]' in asr
    assert 'data.languages=["deu","nan"]' in lid
    assert len(of_module("fleurs.sh", "table")[0]) == 3
    whole = ["--data-root", "x", "--task", "asr", "--stage", "2", "--stop-stage", "2"]
    [words] = [words for words in dry_run("fleurs.sh", *whole) if words[0] == "mlsuperb.run"]
    [sweep] = [word for word in words if word.startswith("data.languages=")]
    assert json.loads(f"[{sweep.partition('=')[2]}]") == [[code] for code in sorted(fleurs_languages().values())]
    [lid] = [words for words in dry_run("fleurs.sh", "--data-root", "x", "--task", "lid") if words[0] == "mlsuperb.run"]
    assert not any(word.startswith("data.languages") for word in lid)


PEFT_LANGUAGES = ["eng", "fra", "deu", "rus", "swa", "swe", "xty"]


def peft_study(*flags: str) -> list[list[str]]:
    """The words of its three sweeps: multilingual, those that name languages, monolingual."""
    common = ["--data-root", "x", "--upstream", "tiny", "--adaptation", "frozen", "--stop-stage", "2"]
    return [words[2:] for words in dry_run("peft_study.sh", *common, *flags) if words[0] == "mlsuperb.run"]


def test_the_peft_study_has_the_pairs_of_its_experiments() -> None:
    multi, _, mono = peft_study()
    assert not any(word.startswith(("data.pairs", "data.languages")) for word in [*multi, *mono])
    assert f"benchmark.run={','.join(PEFT_LANGUAGES)}" in mono
    published = compose(multi)["data"]["pairs"]
    assert [language for language, _ in published] == PEFT_LANGUAGES
    for language, dataset in published:
        one = compose(["+exp=peft_study/mono_asr", "data.root=x", f"benchmark.run={language}"])
        assert (one["data"]["pairs"], one["data"]["languages"]) == ([[language, dataset]], [language])


def test_the_peft_study_on_some_of_its_languages_and_on_another_tree() -> None:
    multi, _, mono = peft_study("--languages", "fra,deu")
    assert 'data.languages=["fra","deu"]' in multi
    assert not any(word.startswith("data.pairs") for word in [*multi, *mono])
    for datasets, expected in (("all", None), ("asterisk,kerstin", ["asterisk", "kerstin"])):
        multi, joint, mono = peft_study("--languages", "fra,spa", "--datasets", datasets)
        assert "benchmark.run=fra,spa" in mono
        alone = compose(["benchmark.run=spa" if word.startswith("benchmark.run") else word for word in mono])["data"]
        assert (alone["languages"], alone["datasets"], alone["pairs"]) == (["spa"], expected, None)
        for words in (multi, ["+exp=peft_study/lid", *joint[1:]]):
            data = compose(words)["data"]
            assert (data["languages"], data["datasets"], data["pairs"]) == (["fra", "spa"], expected, None)
    done = call("recipes/peft_study.sh", "--data-root", "x", "--languages", "spa")
    assert done.returncode == 2
    assert (
        "--languages spa: the study has eng, fra, deu, rus, swa, swe, xty; other languages need --datasets"
        in done.stderr
    )


def test_v2_experiments_that_are_sweeps_stay_sweeps_of_their_own() -> None:
    assert [words[1] for words in of_module("v2.sh", "run")] == [
        "+exp=v2/first/middle_against_full",
        "+exp=v2/frozen,v2/lora",
    ]
    assert len(of_module("v2.sh", "table")[0]) == 4


def test_the_whole_row_is_16_runs_and_its_check_an_argument_of_the_leaderboard() -> None:
    assert len(of_module("all_v1.sh", "table")[0]) == 16
    [board] = of_module("all_v1.sh", "leaderboard")
    assert board == ["no/runs", "--board", "2024", "--size", "1h", "--tolerance", "2", "--check"]


def test_the_challenge_is_scored_as_such_and_handed_in() -> None:
    [run] = of_module("challenge.sh", "table")[0]
    assert of_module("challenge.sh", "score") == [[run, "--protocol", "challenge"]]
    assert of_module("challenge.sh", "export") == [["challenge", run, f"{run}/submission"]]
