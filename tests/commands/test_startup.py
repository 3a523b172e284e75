"""What an answer costs is what is imported for it; no test here looks at a clock."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mlsuperb
from mlsuperb.__main__ import names, usage

HEAVY = ["torch", "transformers", "pandas", "pyarrow", "pydantic", "hydra", "matplotlib", "sklearn"]
SAY = """import json, runpy, sys
watched, sys.argv[1:] = json.loads(sys.argv[1]), json.loads(sys.argv[2])
try:
    runpy.run_module("mlsuperb", run_name="__main__")
except SystemExit as answer:
    print(answer.code if isinstance(answer.code, str) else "", file=sys.stderr)
sys.stdout.write("\\n" + json.dumps([name for name in watched if name in sys.modules]))
"""
HYDRA_HELP = """import hydra
from mlsuperb.config.options import conf_dir
from mlsuperb.run import main
from mlsuperb.config.compose import register_resolvers
register_resolvers()
hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(main)()
"""


def say(*arguments: str, watched: list[str]) -> tuple[str, list[str]]:
    """What a command answers, and which of the modules it had to import."""
    command = [sys.executable, "-c", SAY, json.dumps(watched), json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text, _, imported = done.stdout.rpartition("\n")
    return text + done.stderr, json.loads(imported)


@pytest.mark.parametrize("command", names())
def test_help_is_light(command: str) -> None:
    said, imported = say(command, "--help", watched=HEAVY)
    assert f"mlsuperb.{command}" in said.replace("mlsuperb ", "mlsuperb.")
    assert not imported


def test_every_command_is_listed_in_one_line() -> None:
    package = Path(mlsuperb.__file__).parent
    modules = [
        path for path in (package / "commands").glob("*.py") if re.search(r"^def main\(", path.read_text(), re.M)
    ]
    assert sorted([*(path.stem for path in modules), "run"]) == sorted(names())
    assert all(sum(line.startswith(f"  {name} ") for line in usage().splitlines()) == 1 for name in names())
    assert max(map(len, usage().splitlines())) < 100


def test_few_modules_are_called_by_themselves() -> None:
    package = Path(mlsuperb.__file__).parent
    found = [path for path in package.rglob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]
    assert {path.relative_to(package).as_posix() for path in found} == {"__main__.py", "run.py"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "upstream=hubrt"), ("run", "head.num_head=2"), ("evaluate", "exp/none", "data=kaldy"),
        ("data", "describe", "data=kaldy"), ("folders", "-m", "upstream=fbank,hubrt"),
        ("largest_batch", "job=benchmrk"), ("tabel",),
    ],
)  # fmt: skip
def test_unknown_names_are_answered_lightly(arguments: tuple[str, ...]) -> None:
    said, imported = say(*arguments, watched=[*HEAVY, "omegaconf"])
    assert "; nearest: " in said
    assert not imported


def test_help_of_a_run_is_what_hydra_would_print(tmp_path: Path) -> None:
    (tmp_path / "upstream").mkdir()
    (tmp_path / "upstream" / "mine.yaml").write_text("name: mine\n")
    (tmp_path / "exp" / "mine").mkdir(parents=True)
    (tmp_path / "exp" / "mine" / "first.yaml").write_text("# @package _global_\n")
    arguments = ["--config-dir", str(tmp_path), "--help"]
    commands = [["-m", "mlsuperb.run"], ["-c", HYDRA_HELP]]
    ours, hydras = (
        subprocess.run([sys.executable, *command, *arguments], capture_output=True, text=True, check=True).stdout
        for command in commands
    )
    assert ours == hydras
    assert "exp/mine: first" in ours


def test_wrong_arguments_of_a_part_are_found_before_what_reads_weights_is_imported() -> None:
    code = """import sys
from mlsuperb.config.check import check
from mlsuperb.config.compose import compose
try:
    check(compose(["upstream=hubert_base", "adaptation=lora", "head.num_heads=7", "trainer.max_epochs=many"]))
except ValueError as error:
    print(error)
heavy = "transformers", "peft", "torchaudio", "tensorboard", "matplotlib", "sklearn", "scipy", "bitsandbytes", "sympy"
print([name for name in heavy if name in sys.modules])"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "choose a number of heads" in said
    assert "trainer.max_epochs='many' should be a valid integer" in said
    assert said.rstrip().endswith("[]")
