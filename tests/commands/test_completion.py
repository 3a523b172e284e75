"""What TAB offers, in bash for real, and in the function that every shell calls."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlsuperb.__main__ import names
from mlsuperb.commands.completion import SCRIPTS, candidates, parser_of

IN_BASH = """mlsuperb() {{ {python} -m mlsuperb "$@"; }}
source <(mlsuperb completion bash)
COMP_LINE={line} COMP_POINT={point}
_mlsuperb
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(line: str) -> list[str]:
    """For the last word of a line."""
    words = line.split(" ")
    return candidates(words)


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("mlsuperb ", ["run", "table", "--version"]),
        ("mlsuperb ta", ["table"]),
        ("mlsuperb help comp", ["compare", "completion"]),
        ("mlsuperb run +exp=v1/", ["+exp=v1/lid", "+exp=v1/multi_asr"]),
        ("mlsuperb run upstream=hubert_l", ["upstream=hubert_large", "upstream=hubert_large_cmn"]),
        ("mlsuperb run -m upstream=fbank,ti", ["upstream=fbank,tiny"]),
        ("mlsuperb run up", ["upstream.", "upstream="]),
        ("mlsuperb run jo", ["job="]),
        ("mlsuperb run se", ["seed="]),
        ("mlsuperb run trainer.opt", ["trainer.optimizer.lr="]),
        ("mlsuperb run hydra/launcher=", ["hydra/launcher=slurm"]),
        ("mlsuperb run adaptation=lora adaptation.gradient_checkpointing=", ["adaptation.gradient_checkpointing=true"]),
        ("mlsuperb run --cfg ", ["job", "hydra", "all"]),
        ("mlsuperb run --con", ["--config-dir"]),
        ("mlsuperb-run upstream=xlsr", ["upstream=xlsr_53"]),
        ("mlsuperb largest-batch upstream=xlsr", ["upstream=xlsr_53"]),
        ("mlsuperb folders --un", ["--unfinished"]),
        ("mlsuperb units ", ["quality", "layers", "phones", "extract"]),
        ("mlsuperb units layers upstream=xlsr", ["upstream=xlsr_53"]),
        ("mlsuperb data ", ["prepare", "describe", "check"]),
        ("mlsuperb data describe data=kal", ["data=kaldi"]),
        ("mlsuperb evaluate exp/some data=kal", ["data=kaldi"]),
        ("mlsuperb export ", ["upstream", "challenge", "card"]),
        ("mlsuperb score --protocol v", ["v1", "v2"]),
        ("mlsuperb completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_what_is_offered(line: str, some: list[str]) -> None:
    found = offered(line)
    assert set(some) <= set(found)
    assert all(one.startswith(line.rpartition(" ")[2]) for one in found)


@pytest.mark.parametrize(
    ("chosen", "setting"),
    [
        ("head=conformer", "conv_kernel"),
        ("head=linear,e_branchformer", "cgmlp_kernel"),
        ("+exp=v2/frozen_conformer", "conv_kernel"),  # by its experiment
    ],
)
def test_settings_are_those_of_the_option_that_the_line_chooses(chosen: str, setting: str) -> None:
    assert f"head.{setting}=" in offered(f"mlsuperb run {chosen} head.")
    assert f"head.{setting}=" not in offered("mlsuperb run head.")  # a Transformer, by the job


def test_an_option_that_builds_on_another_has_its_settings() -> None:
    assert "trainer.optimizer.lr=" in offered("mlsuperb run trainer=debug trainer.")


def test_own_files_are_offered(tmp_path: Path) -> None:
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "mine.yaml").write_text("width: 3\n")
    assert offered(f"mlsuperb run --config-dir {tmp_path} head=mi") == ["head=mine"]
    assert offered(f"mlsuperb run --config-dir {tmp_path} head=mine head.") == ["head.width="]


@pytest.mark.parametrize(
    "line",
    [
        "mlsuperb table ",
        "mlsuperb run --config-dir ",
        "mlsuperb run data.root=",
        "mlsuperb evaluate ",
        "mlsuperb nothing ",
    ],
)
def test_files_are_left_to_the_shell(line: str) -> None:
    assert offered(line) == []


@pytest.mark.parametrize("command", names())
def test_every_command_tells_its_flags(command: str) -> None:
    assert "--help" in offered(f"mlsuperb {command} --")
    assert parser_of(command).parse_args is not None
    assert argparse.ArgumentParser().parse_known_args([]) == (argparse.Namespace(), [])  # as it was


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mlsuperb ta", ["table"]),
        ("mlsuperb run upstream=hubert_l", ["hubert_large", "hubert_large_cmn"]),  # bash has `upstream=` already
        ("mlsuperb run -m upstream=fbank,ti", ["fbank,tiny"]),
        ("mlsuperb run +exp=v1/l", ["v1/lid"]),
        ("mlsuperb run data.root=", [""]),
        ("mlsuperb data describe ", []),
    ],
)
def test_in_bash(line: str, expected: list[str]) -> None:
    script = IN_BASH.format(python=sys.executable, line=shlex.quote(line), point=len(line))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    found = done.stdout.splitlines()
    assert found == expected or (not expected and "upstream=" in found)


def test_the_scripts_parse() -> None:
    assert len(SCRIPTS) == 3
    for shell, script in SCRIPTS.items():
        assert "completion words --" in script
        if program := shutil.which(shell):
            done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
