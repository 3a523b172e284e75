"""The shell recipes: valid bash, honest flags, commands that the program accepts."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from mlsuperb.commands.sweep import run_folders
from mlsuperb.config.compose import compose
from mlsuperb.config.options import check_overrides
from mlsuperb.data.corpora.fleurs import languages as fleurs_languages
from mlsuperb.scoring.protocols.v1 import RESERVED_LANGUAGES

ROOT = Path(__file__).resolve().parents[1]
SHELL_FILES = sorted((ROOT / "recipes").glob("*.sh"))
PRETRAIN = [
    "pretrain.sh",
    "pretrain_compare.sh",
    "expand.sh",
]  # of models, not of the benchmark: they have tests of their own below
RECIPES = [path.name for path in SHELL_FILES if path.name not in ("common.sh", *PRETRAIN)]
BASE = ("--data-root", "no/data", "--upstream", "tiny", "--out", "no/runs", "--head", "linear")
OWN_FLAGS = {
    "all_v1.sh": ("--size", "1h", "--check", "--tolerance", "2"),
    "fleurs.sh": ("--task", "both", "--languages", "deu,nan"),
    "layer_sweep.sh": ("--num-blocks", "24"),
    "peft_study.sh": ("--adaptation", "frozen", "--languages", "eng,fra,deu,rus,swa,swe,xty"),
    "transfer.sh": ("--languages", "deu,nan", "--datasets", "fleurs"),
    "v2.sh": ("--experiments", "frozen,first/middle_against_full,lora"),
}
MODULES = {"analyse", "data", "evaluate", "export", "leaderboard", "report", "run", "score", "table"}


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


@cache
def dry_run(recipe: str, *flags: str) -> list[list[str]]:
    """The commands that a recipe would run, each from its name on: mlsuperb.table ..."""
    done = call(f"recipes/{recipe}", "--dry-run", *flags)
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line.removeprefix("+ ")) for line in done.stdout.splitlines() if line.startswith("+ ")]
    assert all(command[:2] == [sys.executable, "-m"] for command in commands)
    return [
        [f"mlsuperb.{command[3]}", *command[4:]] if command[2] == "mlsuperb" else command[2:] for command in commands
    ]


def test_recipes_are_valid_bash() -> None:
    assert len(RECIPES) == 11
    for path in SHELL_FILES:
        assert call("-n", str(path)).returncode == 0
        assert (path.name == "common.sh") != os.access(path, os.X_OK)


def test_shellcheck_has_nothing_to_say() -> None:
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program, "shellcheck comes with pip install -e '.[dev]'"
    done = subprocess.run(
        [program, "-x", "-P", str(ROOT / "recipes"), *map(str, SHELL_FILES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def commands_of(recipe: str) -> list[list[str]]:
    """Of a dry run with flags of all kinds."""
    return dry_run(recipe, *BASE, *OWN_FLAGS.get(recipe, ()))


def of_module(recipe: str, module: str) -> list[list[str]]:
    """The words behind the module in those commands."""
    return [words[1:] for words in commands_of(recipe) if words[0] == f"mlsuperb.{module}"]


@pytest.mark.parametrize("recipe", RECIPES)
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


@pytest.mark.parametrize("recipe", RECIPES)
def test_help_shows_every_flag(recipe: str) -> None:
    done = call(f"recipes/{recipe}", "--help")
    assert done.returncode == 0
    assert f"recipes/{recipe} " in done.stdout
    assert "--lr-sweep [LIST]" in done.stdout
    own = (ROOT / "recipes" / recipe).read_text(encoding="utf-8").partition("option=(")[2].partition(")\n")[0]
    for word in own.split("["):
        assert word.partition("]")[0] in done.stdout


def lid(*flags: str) -> list[str]:
    [words] = [words for words in dry_run("lid.sh", "--data-root", "nowhere", *flags) if words[0] == "mlsuperb.run"]
    return words[1:]


@pytest.mark.parametrize("recipe", ["all_v1.sh", "asr_lid.sh", "lid.sh", "multilingual_asr.sh"])
def test_the_built_in_corpus_fills_the_few_shot_columns(recipe: str) -> None:
    words = next(
        words for words in dry_run(recipe, "--data", "synthetic", "--stage", "2") if words[0] == "mlsuperb.run"
    )
    languages = compose([word for word in words[2:] if not word.startswith("+exp")])["data"]["languages"]
    assert len(set(languages) & RESERVED_LANGUAGES) == 2
    assert len(languages) == 8


LR_SWEEP = "trainer.optimizer.lr=1e-2,1e-3,1e-4,1e-5,1e-6"
FLAGS = [  # several in one call, for speed
    ("--data ml_superb_1h --trainer debug --seeds 0,1", "data=ml_superb_1h trainer=debug seed=0,1"),
    ("--data synthetic --size=1h head=linear", "data=synthetic data.size=1h head=linear"),
    ("output_root=there seed=3 upstream=tiny data.size=1h", "output_root=there seed=3 upstream=tiny data=ml_superb_1h"),
    (
        "--upstream tiny,fbank --languages deu,nan --datasets fleurs --head.size 64 --featurizer one_layer --featurizer.layer -1",
        """upstream=tiny,fbank 'data.languages=["deu","nan"]' 'data.datasets=["fleurs"]' head.size=64 featurizer.layer=-1""",
    ),
    ("--lr-sweep --size 10min", f"{LR_SWEEP} data=ml_superb_10min"),
    ("--lr-sweep 3e-3,1e-4 --launcher slurm", "trainer.optimizer.lr=3e-3,1e-4 hydra/launcher=slurm"),
    ("--lr-sweep head=linear --data.pairs [[deu,mls]]", f"{LR_SWEEP} head=linear 'data.pairs=[[deu,mls]]'"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "words"), FLAGS)
def test_flags_become_words(flags: str, words: str) -> None:
    given = lid(*shlex.split(flags))
    assert set(shlex.split(words)) <= set(given)
    keys = [word.partition("=")[0] for word in given]
    assert len(keys) == len(set(keys))


def test_tables_know_of_sweeps() -> None:
    flags = ["--data-root", "nowhere", "--seeds", "0,1", "--lr-sweep", "1e-3,1e-4"]
    [table] = [words for words in dry_run("lid.sh", *flags) if words[0] == "mlsuperb.table"]
    assert table[-3:] == ["--over-seeds", "--best", "trainer.optimizer.lr"]
    assert len(set(table[1:-3])) == 4


def test_own_configuration_folders_are_passed_on(tmp_path: Path) -> None:
    (tmp_path / "upstream").mkdir()
    shutil.copy(ROOT / "conf" / "upstream" / "tiny.yaml", tmp_path / "upstream" / "mine.yaml")
    assert lid("--config-dir", str(tmp_path), "--upstream", "mine")[:2] == ["--config-dir", str(tmp_path)]


def test_stages_choose_what_is_done() -> None:
    flags = ["--data-root", "nowhere", "--stage", "2", "--stop-stage", "3"]
    assert [words[0] for words in dry_run("lid.sh", *flags)] == [
        "mlsuperb.run",
        "mlsuperb.table",
        "mlsuperb.leaderboard",
    ]


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
    ("flags", "message"),
    [
        (["--trak", "x"], "there is no setting 'trak'; nearest: "),
        (["--upstream", "hubert_bas"], "upstream has no option 'hubert_bas'; nearest: hubert_base"),
        (["--size"], "--size needs a value"),
        (["--size", "--dry-run"], "--size needs a value"),
        (["--out", ""], "--out needs a value"),
        (["--size", "5h"], "--size 5h: there are 10min and 1h"),
        (["--data", "ml_superb_1h", "--size", "10min"], "--data ml_superb_1h is not --size 10min"),
        (["--stage", "9"], "there is no stage 9: stages are 1 data, 2 train, 3 tables"),
        (["--stage", "two"], "there is no stage two"),
        (["--stage", "3", "--stop-stage", "2"], "--stage 3 comes after --stop-stage 2"),
        (["--seeds", "a"], "--seeds a: give whole numbers"),
        (["--seeds", "0,1,"], "--seeds 0,1,: give whole numbers"),
        (["--lr-sweep", "1e-2,big"], "--lr-sweep 1e-2,big: give numbers"),
        (["-x"], "there is no flag -x"),
        (["hubert_base"], "'hubert_base' is neither a flag nor setting=value"),
    ],
)
def test_wrong_flags_are_refused(flags: list[str], message: str, tmp_path: Path) -> None:
    done = call("recipes/lid.sh", "--data-root", str(tmp_path), *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


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


@pytest.mark.parametrize("recipe", ["lid.sh", "fleurs.sh"])
def test_a_real_corpus_needs_its_place(recipe: str) -> None:
    done = call(f"recipes/{recipe}")
    assert done.returncode == 2
    assert "--data-root is missing" in done.stderr


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


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter that names folders, and of all else says only that it was called; $FAKE_mlsuperb_run is its status."""
    path = tmp_path / "python"
    path.write_text(
        "#!/bin/bash\n"
        f'if [[ "$2 $3" == "mlsuperb folders" ]]; then exec {sys.executable} "$@"; fi\n'
        'if [[ $2 == mlsuperb ]]; then status="FAKE_mlsuperb_$3"; else status="FAKE_${2/./_}"; fi; exit "${!status:-0}"\n'
    )
    path.chmod(0o755)
    return path


def call_with(python: Path, *, statuses: dict[str, int] | None = None) -> subprocess.CompletedProcess[str]:
    """recipes/lid.sh with the interpreter of `python`, which ends with the status of each module."""
    environment = {"PYTHON": str(python), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    environment |= {f"FAKE_mlsuperb_{module}": str(status) for module, status in (statuses or {}).items()}
    command = ["bash", "recipes/lid.sh", "--data-root", "x", "--seeds", "0,1", "--out", str(python.parent / "exp")]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def modules(done: subprocess.CompletedProcess[str]) -> list[str]:
    commands = (line.split()[3:5] for line in done.stdout.splitlines() if line.startswith("+ "))
    return [second if first == "mlsuperb" else first.partition(".")[2] for first, second in commands]


def finish_runs(folder: Path) -> list[Path]:
    """Leave a result of both runs."""
    runs = run_folders(["+exp=v1/lid", "data.root=x", "seed=0,1", f"output_root={folder}"], multirun=True)
    for run in runs:
        run.mkdir(parents=True)
        (run / "result.json").write_text("{}")
    return runs


def test_a_failed_run_does_not_end_the_recipe_and_is_named_at_the_end(python: Path) -> None:
    done = call_with(python, statuses={"run": 1, "table": 1})
    assert modules(done) == ["data", "run", "table", "leaderboard"]  # without a finished run there is no report
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert sum(line.endswith(" not started") for line in lines) == 2
    assert lines[-1].startswith("Give the same command again")


def test_what_is_killed_ends_the_recipe(python: Path) -> None:
    done = call_with(python, statuses={"run": 137})
    assert (modules(done), done.returncode) == (["data", "run"], 137)
    assert "killed (137): give the same command again, it goes on from the last checkpoint" in done.stderr


def test_data_that_are_not_whole_are_trained_on_with_a_warning_and_wrong_ones_are_not(python: Path) -> None:
    finish_runs(python.parent / "exp")[0].joinpath("result.json").unlink()
    done = call_with(python, statuses={"data": 1})
    assert (modules(done), done.returncode) == (["data", "run", "table", "leaderboard", "report"], 0)
    assert "not comparable with published ones" in done.stderr
    done = call_with(python, statuses={"data": 2})
    assert (modules(done), done.returncode) == (["data"], 2)


def test_finished_runs_need_no_check_of_the_data_and_are_shown(python: Path) -> None:
    runs = finish_runs(python.parent / "exp")
    done = call_with(python, statuses={"table": 1})
    assert modules(done) == ["run", "table", "leaderboard", "report"]
    assert all(str(run) in done.stdout.splitlines()[-1] for run in runs)
    assert done.returncode == 1
    assert "A command above failed, though every run has its result." in done.stderr
    assert call_with(python).returncode == 0


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


@pytest.mark.parametrize("recipe", PRETRAIN)
def test_help_of_pretraining_shows_its_flags(recipe: str) -> None:
    done = call(f"recipes/{recipe}", "--help")
    assert done.returncode == 0
    assert f"recipes/{recipe} " in done.stdout
    flags = {
        "pretrain.sh": ("--iterations", "--layers", "--phones"),
        "pretrain_compare.sh": ("--compare", "--teacher", "--seeds"),
        "expand.sh": ("--base", "--new", "--old", "--share"),
    }[recipe]
    assert all(flag in done.stdout for flag in flags)


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
    ],
)
def test_wrong_flags_of_an_expansion_are_refused(flags: list[str], message: str) -> None:
    done = call("recipes/expand.sh", "--data", "synthetic", *flags)
    assert done.returncode == 2
    assert message in done.stderr
