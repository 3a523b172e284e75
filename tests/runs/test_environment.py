"""What a run records of the code that it ran."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import mlsuperb
from mlsuperb.runs.environment import _code_state


def test_the_checkout_is_looked_at_and_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git status` refreshes the index under a lock, which a killed run would leave behind."""
    (tmp_path / "mlsuperb").mkdir()
    file = tmp_path / "mlsuperb" / "__init__.py"
    for path in (file, tmp_path / "pyproject.toml"):
        path.write_text("one = 1\n")

    def git(*words: str) -> None:
        names = ("-c", "user.name=x", "-c", "user.email=x@x")
        subprocess.run(["git", *names, "-C", str(tmp_path), *words], check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "x", "--no-gpg-sign")
    monkeypatch.setattr(mlsuperb, "__file__", str(file))
    os.utime(file, (0, 0))  # the index knows another time, and would be written anew
    before = (tmp_path / ".git" / "index").read_bytes()
    state = _code_state()
    assert len(state["commit"]) == 40
    assert not state["dirty"]
    assert (tmp_path / ".git" / "index").read_bytes() == before
    file.write_text("two = 2\n")
    assert _code_state()["dirty"]
