"""Recipes of pre-training: iterations of labels and trainings, comparisons of them."""

from __future__ import annotations

import pytest
from recipe_calls import call, dry_run

from mlsuperb.config.compose import compose
from mlsuperb.config.options import check_overrides

PRETRAIN_FLAGS = (
    "--data",
    "synthetic",
    "--model",
    "hubert_new_tiny",
    "--units",
    "20,30",
    "--layers",
    "4",
    "--out",
    "no/runs",
)


def pretraining(*flags: str) -> list[list[str]]:
    return [words[1:] for words in dry_run("pretrain.sh", *PRETRAIN_FLAGS, *flags) if words[0] == "mlsuperb.run"]


def test_iterations_take_what_the_ones_before_have_made() -> None:
    runs = pretraining("--iterations", "3", "--trainer", "debug", "--data.minutes", "1", "loading.train.max_batch_s=9")
    assert [words[0] for words in runs] == ["job=labels", "job=pretrain"] * 3
    assert all(check_overrides(words) == [] for words in runs)
    made = [compose(words) for words in runs]
    folders = [f"no/runs/{config['run_id']}" for config in made]
    assert len(set(folders)) == 6
    assert [config["targets"]["run"] for config in made[1::2]] == folders[0::2]
    assert [config["upstream"]["run"] for config in made[2::2]] == folders[1:-1:2]
    assert [config["clustering"]["num_units"] for config in made[0::2]] == [20, 30, 30]
    assert [config["extraction"]["layer"] for config in made[0::2]] == [0, 4, 4]
    assert {config["data"]["minutes"] for config in made[0::2]} == {1}
    assert {config["loading"]["train"]["max_batch_s"] for config in made[1::2]} == {9}


def test_settings_go_where_their_keys_belong() -> None:
    """Whatever stands in their values, and however they are added."""
    words = ["+data/preparation=mhubert_147", "data.preparation.num_valid=2", "+labelling/sampling=two_level"]
    words += ["+targets.shards=/data/shards", "prediction.start=/mnt/data/clustering/head"]
    runs = pretraining(*words)
    assert all(check_overrides(one) == [] for one in runs)
    for number, one in enumerate(runs):
        assert [word in one for word in words] == [number % 2 == 0] * 3 + [number % 2 == 1] * 2
    assert ["clustering=faiss" in one for one in runs] == [False, False, True, False], "layers, unless it is given"
    assert not any("clustering=faiss" in one for one in pretraining("clustering=sklearn"))


def test_units_are_compared_with_phones_before_the_training() -> None:
    """So that phones of other utterances are found out in time."""
    words = [command[:2] for command in dry_run("pretrain.sh", *PRETRAIN_FLAGS, "--phones", "phones.tsv")]
    labels, train, compare = (
        ["mlsuperb.run", "job=labels"],
        ["mlsuperb.run", "job=pretrain"],
        ["mlsuperb.units", "quality"],
    )
    assert words[:-1] == [labels, compare, train, labels, compare, train, compare]


@pytest.mark.parametrize(
    "flags",
    [
        [
            "--data",
            "several",
            "+data@data.corpora.a=audio_tree",
            "data.corpora.a.root=x",
            "+data/preparation=mhubert_147",
        ],
        ["--data", "shar", "--data-root", "x"],
        ["--data", "audio_tree", "--data-root", "x"],
    ],
)
def test_corpora_of_pretraining(flags: list[str]) -> None:
    check, *runs = dry_run("pretrain.sh", *PRETRAIN_FLAGS[2:], *flags, "--stop-stage", "3")
    assert check_overrides([word for word in check if "=" in word]) == []
    assert [check_overrides(words[1:]) for words in runs] == [[], []]
    assert ("+data/preparation=mhubert_147" in runs[0]) == (flags[1] != "shar"), (
        "a tree has no dev utterances of its own"
    )


def test_a_teacher_starts_and_stages_are_runs() -> None:
    flags = ("--start", "whisper_base", "--start-layer", "4", "--iterations", "1", "--stage", "2", "--stop-stage", "2")
    [labels] = [words[1:] for words in dry_run("pretrain.sh", "--data-root", "x", *flags)]
    assert {"job=labels", "upstream=whisper_base", "extraction.layer=4", "+data.text=optional", "data.root=x"} <= set(
        labels
    )


@pytest.mark.parametrize(
    ("recipe", "flags", "message"),
    [
        ("pretrain.sh", ["--iterations", "9"], "--iterations 9: give 1, 2 or 3"),
        ("pretrain.sh", ["--data", "synthetic", "--seeds", "0,1"], "one model is trained at a time"),
        (
            "pretrain.sh",
            ["--data", "synthetic", "--model", "hubert_new_tiny", "--layers", "7"],
            "clusters layer 7, and hubert_new_tiny has 6",
        ),
        (
            "pretrain.sh",
            ["--data", "synthetic", "--layers", "3", "upstream.num_blocks=2"],
            "clusters layer 3, and hubert_new has 2",
        ),
        ("pretrain.sh", ["--launcher", "slurm"], "--launcher is no flag of this recipe"),
        ("pretrain.sh", ["--data", "synthetic", "--ngpu", "2"], "--ngpu 2: one run at a time here; --dry-run prints"),
        ("pretrain_compare.sh", ["--compare", "luck"], "--compare luck: there are clustering, batches"),
        ("pretrain_compare.sh", ["--compare"], "--compare needs a value"),
    ],
)
def test_wrong_flags_of_pretraining_are_refused(recipe: str, flags: list[str], message: str) -> None:
    done = call(f"recipes/{recipe}", *flags)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize(("what", "num"), [("sampling", 4)])
def test_a_comparison_changes_one_thing_and_ends_in_one_table(what: str, num: int) -> None:
    commands = dry_run("pretrain_compare.sh", "--compare", what, *PRETRAIN_FLAGS, "--iterations", "1")
    assert [words[0] for words in commands] == ["mlsuperb.run"] * num + ["mlsuperb.table"]
    *runs, last = commands[-1][1:]
    assert (len(set(runs)), last) == (num, "--intervals")
    models = {word for words in commands[:-1] for word in words if word.startswith("upstream.run=")}
    assert len(models) == num
    for words in commands[:-1]:
        assert check_overrides(words[1:]) == []


@pytest.mark.parametrize(
    ("recipe", "flags"),
    [
        ("pretrain.sh", ["--iterations", "--layers", "--phones"]),
        ("pretrain_compare.sh", ["--compare", "--teacher", "--seeds"]),
    ],
)
def test_help_of_pretraining_shows_its_flags(recipe: str, flags: list[str]) -> None:
    done = call(f"recipes/{recipe}", "--help")
    assert done.returncode == 0
    assert f"recipes/{recipe} " in done.stdout
    assert all(flag in done.stdout for flag in flags)
