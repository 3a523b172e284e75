"""What a run records of the code that it ran."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from mlsuperb.runs import environment
from mlsuperb.runs.environment import _code_state


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Calls git in a checkout of the package whose files are committed."""

    def call(*words: str) -> None:
        names = ("-c", "user.name=x", "-c", "user.email=x@x")
        subprocess.run(["git", *names, "-C", str(tmp_path), *words], check=True, capture_output=True)

    for name in ("mlsuperb/__init__.py", "conf/config.yaml", "pyproject.toml", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    call("init")
    call("add", ".")
    call("commit", "-m", "x", "--no-gpg-sign")
    monkeypatch.setattr("mlsuperb.__file__", str(tmp_path / "mlsuperb" / "__init__.py"))
    return call


def test_the_checkout_is_looked_at_and_not_touched(git: Callable[..., None], tmp_path: Path) -> None:
    """`git status` refreshes the index under a lock, which a killed run would leave behind."""
    os.utime(tmp_path / "mlsuperb" / "__init__.py", (0, 0))  # the index knows another time, and would be written anew
    before = (tmp_path / ".git" / "index").read_bytes()
    state = _code_state()
    assert len(state["commit"]) == 40
    assert not state["dirty"]
    assert (tmp_path / ".git" / "index").read_bytes() == before


def test_code_is_changed_by_code_alone(git: Callable[..., None], tmp_path: Path) -> None:
    """A report, a note or wandb's folder in a checkout made every later run unofficial."""
    for name in ("report.html", "wandb/x", "README.md", "my_upstreams.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert _code_state()["dirty"] is False
    for name in ("mlsuperb/new.py", "conf/config.yaml"):
        (tmp_path / name).write_text("x", encoding="utf-8")
        assert _code_state()["dirty"] is True
        git("add", ".")
        git("commit", "-m", "x", "--no-gpg-sign")


def test_the_packages_that_make_phonemes_are_recorded_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "pyopenjtalk":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(environment.importlib.metadata, "version", version)
    found = environment.environment()["packages"]
    assert {"torch", "pyopenjtalk-plus", "pypinyin"} < set(found)
    assert "pyopenjtalk" not in found
