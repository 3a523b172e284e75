"""The shell recipes: valid bash, honest flags, commands that the program accepts."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mlsuperb.options import check_overrides

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.sh"))


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def test_recipes_are_valid_bash() -> None:
    assert len(RECIPES) >= 1
    for recipe in RECIPES:
        assert call("-n", str(recipe)).returncode == 0


def test_a_dry_run_prints_commands_that_exist(tmp_path: Path) -> None:
    flags = ["--track", "lid", "--size", "1h", "--data-root", str(tmp_path), "--upstream", "tiny", "--dry-run"]
    done = call("recipes/v1.sh", *flags, "seed=3")
    commands = [shlex.split(line.removeprefix("+ ")) for line in done.stdout.splitlines() if line.startswith("+ ")]
    assert [command[2] for command in commands] == ["mlsuperb.data", "mlsuperb.run", "mlsuperb.score"]
    train = commands[1][3:]
    assert train == ["+exp=v1/lid", "data=ml_superb_1h", f"data.root={tmp_path}", "upstream=tiny", "seed=3"]
    assert check_overrides(train) == []
    assert commands[2][3].startswith("exp/tiny-frozen-lid-ml_superb_1h-s3-")


def test_stages_choose_what_is_done(tmp_path: Path) -> None:
    done = call("recipes/v1.sh", "--data-root", str(tmp_path), "--dry-run", "--stage", "2", "--stop-stage", "2")
    assert sum(line.startswith("+ ") for line in done.stdout.splitlines()) == 1
    assert "mlsuperb.run" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"), [(["--trak", "x"], "unknown flag --trak"), ([], "--data-root is missing")]
)
def test_wrong_flags_are_refused(flags: list[str], message: str) -> None:
    done = call("recipes/v1.sh", *flags)
    assert done.returncode == 2
    assert message in done.stderr
