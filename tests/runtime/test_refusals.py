"""What the system refuses is one sentence with the remedy, whatever library reports it."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from mlsuperb.commands.errors import for_user
from mlsuperb.runtime.files import disk_errors_named
from mlsuperb.runtime.refusals import check_address_space, number_of, sentence
from mlsuperb.training.checkpoint import CheckpointFolder, save_weights


def system_error(number: int, path: str = "x") -> OSError:
    return OSError(number, os.strerror(number), path)


CASES: dict[str, tuple[BaseException, str]] = {
    "quota": (system_error(errno.EDQUOT, "a/b"), "a/b: the disk quota is used up (Disk quota exceeded): free some space"),
    "size": (system_error(errno.EFBIG), "the limit on the size of a file is reached (File too large): raise the limit"),
    "rust": (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), "the limit on the size"),
    "pyarrow": (OSError("[Errno 122] Error writing bytes to file. Detail: [errno 122] Disk quota exceeded"), "quota is used up"),
    "rights": (system_error(errno.EACCES, "exp/features/.lock"), "exp/features/.lock: you have no right to it"),
    "read-only": (system_error(errno.EROFS, "exp"), "exp: the file system is read-only (Read-only file system): give a folder"),
    "no folder": (system_error(errno.ENOTDIR, "exp/a"), "exp/a: a file is where a folder should be"),
    "files": (system_error(errno.EMFILE, "a.wav"), "a.wav: too many files are open (Too many open files): raise the limit"),
    "files of workers": (
        RuntimeError("Too many open files. Communication with the workers is no longer possible."),
        "loading.num_workers=0",
    ),
    "no /dev/shm": (
        RuntimeError("unable to open shared memory object </torch_1_2_0> in read-write mode: Read-only file system (30)"),
        "/dev/shm is missing, read-only or too small",
    ),
    "full /dev/shm": (
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ..."),
        "docker run --shm-size=8g",
    ),
    "killed worker": (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "lower loading.num_workers"),
    "threads": (RuntimeError("can't start new thread"), "ulimit -u"),
    "memory": (MemoryError(), "there is too little memory"),
    "memory of a process": (system_error(errno.ENOMEM), "there is too little memory"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_is_one_sentence_with_its_remedy(name: str) -> None:
    error, words = CASES[name]
    told = sentence(error)
    assert told is not None
    assert words in told
    assert "\n" not in told
    assert for_user(error) == told


def test_what_was_explained_where_it_arose_and_what_is_a_bug_stay_as_they_are() -> None:
    explained = OSError(errno.ENOSPC, "could not write result.json: No space left on device. An earlier file ...")
    assert sentence(explained) is None
    assert for_user(explained) == str(explained)
    assert for_user(ValueError("head.size is 3")) == "head.size is 3"
    assert for_user(FileNotFoundError(errno.ENOENT, "No such file or directory", "a.wav")) is not None
    for number in (errno.EACCES, errno.ENOTDIR):
        ours = ValueError("head.checkpoint=a cannot be read. Give another")
        ours.__cause__ = system_error(number, "a")
        assert for_user(ours) == str(ours)
    for bug in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), KeyError("x"), RuntimeError()):
        assert for_user(bug) is None


def test_the_cause_of_an_error_counts() -> None:
    """torch tells where it was in a file, and its context what the system said."""

    def fail() -> None:
        try:
            raise system_error(errno.EDQUOT)
        except OSError:
            raise RuntimeError("unexpected pos 640 vs 598")  # noqa: B904

    with pytest.raises(RuntimeError) as raised:
        fail()
    assert number_of(raised.value) == errno.EDQUOT
    raised.value.__suppress_context__ = True  # raise ... from None
    assert number_of(raised.value) is None
    with (
        pytest.raises(OSError, match="the disk quota is used up while writing a/state") as named,
        disk_errors_named(Path("a/state")),
    ):
        fail()
    assert named.value.errno == errno.EDQUOT


def told_by_child(work: Callable[[], object], *, limit: int) -> str:
    """The message of the error that `work` ends with in a process whose files may not be larger than `limit` bytes."""
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            work()
        except BaseException as error:  # noqa: BLE001 (it is looked at in the parent)
            os.write(write, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return found


def test_a_checkpoint_that_may_not_become_so_large_is_told_and_leaves_the_one_before(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    state = {"moments": torch.zeros(50_000)}
    folder.save(1, num_epochs=0, weights={"w": torch.ones(2)}, state=state)
    works: list[Callable[[], Any]] = [
        lambda: folder.save(2, num_epochs=0, weights={"w": torch.ones(2)}, state=state),  # torch
        lambda: save_weights({"w": torch.zeros(50_000)}, tmp_path / "model.safetensors"),  # safetensors
    ]
    for work in works:
        told = told_by_child(work, limit=100_000)
        assert told.startswith("OSError: [Errno 27] the limit on the size of a file is reached while writing")
        assert "What was saved before is intact: raise the limit (ulimit -f unlimited)" in told
    assert folder.latest() == tmp_path / "checkpoints" / "00000001-0000"
    assert not (tmp_path / "model.safetensors").exists()


def test_python_without_docstrings_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "mlsuperb", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("python -OO (PYTHONOPTIMIZE=2) removes docstrings")
    assert done.stderr.count("\n") == 1


def test_too_little_address_space_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_address_space()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2_500_000_000, -1))
    with pytest.raises(ValueError, match=r"2\.5 GB of address space \(ulimit -v\).*takes 4 GB.*ulimit -v unlimited"):
        check_address_space()
