"""What all shell recipes share: valid bash, flags, stages, and what is done as a command fails."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recipe_calls import OF_BENCHMARK, ROOT, SHELL_FILES, call, dry_run

from mlsuperb.commands.sweep import run_folders


def test_recipes_are_valid_bash() -> None:
    assert len(OF_BENCHMARK) == 12
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


def lid(*flags: str) -> list[str]:
    [words] = [words for words in dry_run("lid.sh", "--data-root", "nowhere", *flags) if words[0] == "mlsuperb.run"]
    return words[1:]


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
    ("--ngpu 0 --nj 3 --data_root there --stop_stage 2", "trainer.device=cpu loading.num_workers=3 data.root=there"),  # ESPnet's
    ("--ngpu 4", "hydra/launcher=local hydra.launcher.n_jobs=4"),
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


def own_reader(folder: Path) -> Path:
    """A --config-dir with data=mine and upstream=mine."""
    for group, base in (("data", "synthetic"), ("upstream", "tiny")):
        (folder / group).mkdir()
        shutil.copy(ROOT / "conf" / group / f"{base}.yaml", folder / group / "mine.yaml")
    return folder


@pytest.mark.parametrize(
    ("recipe", "flags"),
    [
        ("lid.sh", ["--upstream", "mine"]),
        ("transfer.sh", ["--upstream", "mine"]),
        ("pretrain.sh", ["--iterations", "1"]),
        ("expand.sh", ["--base", "mine", "--new", "kat", "--old", "deu"]),
        ("pretrain_compare.sh", ["--compare", "batches", "--iterations", "1"]),
    ],
)
def test_all_commands_that_read_the_data_or_build_a_model_are_given_the_own_folder(
    recipe: str, flags: list[str], tmp_path: Path
) -> None:
    own = str(own_reader(tmp_path))
    for words in dry_run(recipe, "--config-dir", own, "--data", "mine", *flags):
        takes_none = words[0] in ("mlsuperb.table", "mlsuperb.leaderboard", "mlsuperb.report")
        assert (own in words) == (not takes_none), words


@pytest.mark.parametrize("recipe", ["pretrain.sh", "expand.sh", "seamless.sh", "evidence.sh", "challenge.sh", "v2.sh"])
def test_help_lists_what_the_recipe_takes_with_its_defaults(recipe: str) -> None:
    shown = call(f"recipes/{recipe}", "--help").stdout
    text = (ROOT / "recipes" / recipe).read_text(encoding="utf-8")
    refused = re.search(r"^refused=\((.*)\)", text, re.MULTILINE)
    for flag in refused[1].split() if refused else ():
        assert f"  --{flag} " not in shown
        assert (
            f"--{flag} is no flag of this recipe" in call(f"recipes/{recipe}", "--data-root", "x", f"--{flag}=1").stderr
        )
    assert ("synthetic (1h)" in shown) == (recipe == "v2.sh")
    assert "first stage that is done" in shown
    flags = re.findall(r"^  --(\S+) ", shown, re.MULTILINE)
    assert len(flags) == len(set(flags)) > 10


def test_an_old_bash_is_named() -> None:
    for version in ("3 2", "4 3"):
        done = call("-c", f"source recipes/common.sh; needs_bash {version}")
        assert done.returncode == 2
        assert f"need bash 4.4 or newer, and this is {version.replace(' ', '.')}" in done.stderr
    assert call("-c", "source recipes/common.sh; needs_bash 4 4; needs_bash 5 2").returncode == 0


def test_stages_choose_what_is_done() -> None:
    flags = ["--data-root", "nowhere", "--stage", "2", "--stop-stage", "3"]
    assert [words[0] for words in dry_run("lid.sh", *flags)] == [
        "mlsuperb.run",
        "mlsuperb.table",
        "mlsuperb.leaderboard",
    ]


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
        (["--ngpu", "all"], "--ngpu all: give a number"),
        (["hubert_base"], "'hubert_base' is neither a flag nor setting=value"),
    ],
)
def test_wrong_flags_are_refused(flags: list[str], message: str, tmp_path: Path) -> None:
    done = call("recipes/lid.sh", "--data-root", str(tmp_path), *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize("recipe", ["lid.sh", "fleurs.sh"])
def test_a_real_corpus_needs_its_place(recipe: str) -> None:
    done = call(f"recipes/{recipe}")
    assert done.returncode == 2
    assert "--data-root is missing" in done.stderr


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
