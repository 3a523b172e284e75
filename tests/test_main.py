"""`mlsuperb COMMAND`: names, exit statuses, and ends without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlsuperb import __version__
from mlsuperb.__main__ import main

PROGRAM = [sys.executable, "-m", "mlsuperb"]


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False)


def status(*arguments: str) -> str | int | None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("help",)])
def test_help_lists_the_commands_by_what_they_are_for(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*arguments) == 0
    shown = capsys.readouterr().out
    assert shown.index("Train:") < shown.index("  run ") < shown.index("Look at results:") < shown.index("  table ")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--version") == 0
    assert capsys.readouterr().out == f"mlsuperb {__version__}\n"


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("help", "import-espnet") == 0
    first = capsys.readouterr().out
    assert status("import_espnet", "--help") == 0
    assert capsys.readouterr().out == first
    assert "usage: mlsuperb import_espnet" in first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tabel",), "there is no command 'tabel'; nearest: table"),
        (("help", "tabel"), "there is no command 'tabel'; nearest: table"),
        (("qqq",), "there is no command 'qqq'; commands: run, "),
        (("+exp=demo",), "settings follow a command: mlsuperb run +exp=demo"),
        ((), "mlsuperb COMMAND ..."),
        (("folders",), "the following arguments are required: OVERRIDE"),
        (("completion", "tcsh"), "invalid choice: 'tcsh'"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(*arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""


def test_mistakes_are_one_message_and_1() -> None:
    done = call("folders", "upstream=fbnk")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "upstream has no option 'fbnk'; nearest: fbank, fbank_10ms\n"


def test_other_errors_show_where_they_arose(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("mlsuperb.commands.folders.main", broken)
    with pytest.raises(KeyError):
        main(["folders"])


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mlsuperb.commands.folders.main", interrupted)
    assert status("folders") == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "arguments", ["--help", "folders +exp=demo", "upstreams", "completion words -- mlsuperb run upstream="]
)
def test_a_closed_pipe_is_quiet(arguments: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*PROGRAM, *arguments.split()], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
