"""The shell recipes: valid bash, honest flags, commands that the program accepts."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlsuperb.options import check_overrides

ROOT = Path(__file__).resolve().parents[1]
SHELL_FILES = sorted((ROOT / "recipes").glob("*.sh"))
RECIPES = [path.name for path in SHELL_FILES if path.name != "common.sh"]
MODULES = {"analyse", "data", "evaluate", "export", "leaderboard", "report", "run", "score", "table"}


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def dry_run(recipe: str, *flags: str) -> list[list[str]]:
    """The commands that a recipe would run, each from its module on."""
    done = call(f"recipes/{recipe}", "--dry-run", *flags)
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line.removeprefix("+ ")) for line in done.stdout.splitlines() if line.startswith("+ ")]
    assert all(command[:2] == [sys.executable, "-m"] for command in commands)
    return [command[2:] for command in commands]


def test_recipes_are_valid_bash() -> None:
    assert len(RECIPES) >= 4
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


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_dry_run_prints_commands_that_exist(recipe: str, tmp_path: Path) -> None:
    data = str(tmp_path / "none")
    commands = dry_run(recipe, "--data-root", data, "--upstream", "tiny", "--out", str(tmp_path), "--head", "linear")
    assert {command[0].split(".")[1] for command in commands} <= MODULES
    runs = [command[1:] for command in commands if command[0] == "mlsuperb.run"]
    assert commands[0][:2] == ["mlsuperb.data", "check"]
    assert f"data.root={data}" in commands[0]
    assert runs
    for words in runs:
        assert words[0] == "-m"
        assert {"upstream=tiny", f"output_root={tmp_path}", "head=linear"} < set(words)
        assert check_overrides(words) == []
    assert not list(tmp_path.iterdir())
    tables = [command for command in commands if command[0] == "mlsuperb.table"]
    assert all(word.startswith(f"{tmp_path}/tiny-") for word in tables[0][1:] if not word.startswith("-"))


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


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size", "1h"], ["data=ml_superb_1h"]),
        (["--data", "ml_superb_1h"], ["data=ml_superb_1h"]),
        (["--size=1h", "--upstream=tiny"], ["data=ml_superb_1h", "upstream=tiny"]),
        (["--upstream", "tiny,fbank", "--adaptation", "frozen,full"], ["upstream=tiny,fbank", "adaptation=frozen,full"]),
        (["--languages", "deu,nan"], ['data.languages=["deu","nan"]']),
        (["--datasets", "fleurs"], ['data.datasets=["fleurs"]']),
        (["--trainer", "debug"], ["trainer=debug"]),
        (["--seeds", "0,1,2"], ["seed=0,1,2"]),
        (["--lr-sweep"], ["trainer.optimizer.lr=1e-2,1e-3,1e-4,1e-5,1e-6"]),
        (["--lr-sweep", "--size", "10min"], ["trainer.optimizer.lr=1e-2,1e-3,1e-4,1e-5,1e-6"]),
        (["--lr-sweep", "3e-3,1e-4"], ["trainer.optimizer.lr=3e-3,1e-4"]),
        (["--lr-sweep", "head=linear"], ["trainer.optimizer.lr=1e-2,1e-3,1e-4,1e-5,1e-6", "head=linear"]),
        (["--launcher", "slurm", "--hydra.launcher.partition", "gpu"], ["hydra/launcher=slurm", "hydra.launcher.partition=gpu"]),
        (["--head.size", "64", "--featurizer", "one_layer", "--featurizer.layer", "-1"], ["head.size=64", "featurizer.layer=-1"]),
        (["--trainer.optimizer.lr", "1e-3", "loading.num_workers=0"], ["trainer.optimizer.lr=1e-3", "loading.num_workers=0"]),
        (["output_root=there", "seed=3", "upstream=tiny"], ["output_root=there", "seed=3", "upstream=tiny"]),
    ],
)  # fmt: skip
def test_flags_become_words(flags: list[str], words: list[str]) -> None:
    given = lid(*flags)
    assert set(words) <= set(given)
    keys = [word.partition("=")[0] for word in given]
    assert len(keys) == len(set(keys))


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
    def runs(*flags: str) -> set[str]:
        [words] = [
            words for words in dry_run("monolingual.sh", "--data-root", "x", *flags) if words[0] == "mlsuperb.run"
        ]
        [mono] = [word.partition("=")[2] for word in words if word.startswith("data.mono=")]
        assert not any(word.startswith("data.languages") for word in words)
        return set(mono.split(","))

    assert len(runs()) == 13
    assert runs("--languages", "eng,deu2,swa,kor") == {"eng1", "eng2", "eng3", "deu2", "swa"}
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


def test_a_real_corpus_needs_its_place() -> None:
    done = call("recipes/lid.sh")
    assert done.returncode == 2
    assert "--data-root is missing" in done.stderr
