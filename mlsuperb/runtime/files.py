"""Files that are written whole or not at all, and folders that one process holds at a time."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from mlsuperb.runtime import locks, refusals


def write_atomic(path: Path, pieces: Iterable[str | bytes]) -> None:
    """Write `pieces`, all text or all bytes, one after the other to a temporary name beside `path`, then give it its name.

    Raises:
        OSError: the disk is full, the folder cannot be written, ...; an earlier file at `path` is as it was.
    """
    try:
        with replaced(path) as temporary, temporary.open("wb") as file:
            file.writelines(piece.encode("utf-8") if isinstance(piece, str) else piece for piece in pieces)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        remedy = "free some space or write elsewhere" if error.errno in refusals.FULL else "write elsewhere"
        if error.errno == errno.ENOENT:
            remedy = f"make the folder {path.parent}, or write elsewhere"
        raise OSError(
            error.errno,
            f"could not write {path}: {error.strerror}. An earlier file of that name is untouched; {remedy}, then start the "
            "same command again",
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically.

    Raises:
        OSError: it cannot be written (a full disk, for one).
    """
    write_atomic(path, [json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False), "\n"])


def drop_cut_line(path: Path) -> int:
    """Take off a last line that a kill cut short, of a file that is written line by line; returns the bytes that are left."""
    with open(path, "r+b", opener=no_link) as file:
        whole = file.read().rfind(b"\n") + 1  # bytes: the cut may go through a letter
        file.truncate(whole)
    return whole


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary file to write to; when the block ends without an error, it becomes `path`, with the mode that the umask
    gives, also where a library (safetensors) makes files that their owner alone may read. A symbolic link at `path` is replaced,
    not followed. Nobody can guess the temporary name, so no link waits there, and no other process has it, on whichever machine:
    several nodes may write to one folder, and their process ids are often the same."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    try:
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def made(folder: Path) -> Path:
    """A folder inside of one that may be somebody else's, made if need be.

    Raises:
        OSError: it cannot be made, or is a symbolic link, so that what is written there would go elsewhere.
    """
    if folder.is_symlink():
        raise OSError(errno.ELOOP, f"{folder} is a symbolic link, which is not written through; remove it")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def no_link(path: str | os.PathLike[str], flags: int) -> int:
    """An `opener` for `open` of files that are written in place (locks, lines that are added): in the folder of somebody else
    a name may be a symbolic link to any file of ours.

    Raises:
        OSError: `path` is a symbolic link.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(error.errno, f"{path} is a symbolic link, which is not written through; remove it") from error


def stamp(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Size (bytes) and time of the last change (ns) of a file, by which a change is seen; -1 where it is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: no file has such a name
        return -1, -1
    return status.st_size, status.st_mtime_ns


def written_before(path: Path, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Write to `path` what its folder holds, or compare it with what an earlier process wrote there.

    Returns:
        What was written before, where that is something else; otherwise None.

    Raises:
        OSError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        with disk_errors_named(path), replaced(path) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        return None
    before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return before if before != about else None


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; when the block ends without an error, it becomes `folder` and replaces what was there. Its files
    have the mode that the umask gives, whoever makes them."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        readable = unfinished.stat().st_mode & 0o666  # the folder is new: what the umask leaves
        for path in unfinished.rglob("*"):
            if path.is_file():
                path.chmod(path.stat().st_mode | readable)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, for one process at a time.

    Raises:
        ValueError: another process is at work in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a", opener=no_link) as lock:
        if not locks.lock(lock, wait=False):
            raise ValueError(f"another process is at work in {folder}; wait for it, or change the settings")
        yield


@contextmanager
def disk_errors_named(path: Path) -> Iterator[None]:
    """Turn a full disk, a used-up quota and a limit on the size of files into one clear error; what was saved before stays
    whole, since writes go to a temporary name."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        number = refusals.number_of(error)
        if number not in refusals.FULL:
            raise
        what, remedy = refusals.FULL[number]
        raise OSError(
            number,
            f"{what} while writing {path}. What was saved before is intact: {remedy} and give the same command again, it "
            "resumes from there",
        ) from error
