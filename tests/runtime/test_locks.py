"""Locks, also where a file system has none."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path

import pytest

from mlsuperb.cache.budget import Budget
from mlsuperb.runtime import locks
from mlsuperb.runtime.files import held


def without_flock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    locks._warn.cache_clear()


def test_another_process_is_one_that_holds_the_lock(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as one, (tmp_path / "lock").open("w") as other:
        assert locks.lock(one, shared=True, wait=False)
        assert locks.lock(other, shared=True, wait=False)
        assert not locks.lock(other, wait=False)
        assert not locks.lock(other, wait=False, unknown=True)
        locks.unlock(one)
        assert locks.lock(other, wait=False)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_work_goes_on_with_one_warning(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_flock(monkeypatch, number)
    with caplog.at_level(logging.WARNING), held(tmp_path / "run"), held(tmp_path / "run"):
        pass
    assert [one.message for one in caplog.records] == [
        f"the file system of {tmp_path / 'run'} has no locks (flock: {os.strerror(number)}), so processes cannot see each "
        "other there: start no two that write to the same folder at the same time"
    ]
    with (tmp_path / "lock").open("w") as file:
        assert not locks.lock(file, wait=False, unknown=False)


def test_without_locks_no_features_are_evicted_that_may_be_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        Budget(tmp_path, tmp_path / name, max_bytes=10**6).close()
    without_flock(monkeypatch, errno.ENOLCK)
    own = Budget(tmp_path, tmp_path / "one", max_bytes=1000)
    assert "cache.max_gb" in str(own.reserve(2000))
    assert (tmp_path / "other").is_dir()
    monkeypatch.undo()
    assert "cache.max_gb" in str(own.reserve(2000))
    assert not (tmp_path / "other").exists()  # with locks it is seen that nobody uses it


def test_any_other_error_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_flock(monkeypatch, errno.EIO)
    with (
        pytest.raises(OSError, match=r"run/\.lock cannot be locked: Input/output error") as raised,
        held(tmp_path / "run"),
    ):
        pass
    assert raised.value.errno == errno.EIO
    monkeypatch.undo()
    with held(tmp_path / "run"), pytest.raises(ValueError, match="another process is at work"), held(tmp_path / "run"):
        pass
