"""Calls of the shell recipes: what one says, and which commands it would run."""

from __future__ import annotations

import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL_FILES = sorted((ROOT / "recipes").glob("*.sh"))
# the others are of the benchmark
OF_MODELS = ["pretrain.sh", "pretrain_compare.sh", "expand.sh", "expand_compare.sh", "seamless.sh"]
OF_BENCHMARK = [path.name for path in SHELL_FILES if path.name not in ("common.sh", *OF_MODELS)]


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
