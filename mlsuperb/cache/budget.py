"""How much of a disk the cached features of all runs may take together, counted by all processes."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mlsuperb.runtime import locks
from mlsuperb.runtime.files import no_link

log = logging.getLogger(__name__)

LEFT_FREE = 2 * 10**9  # bytes of the disk that features never take: checkpoints and results come first
IN_USE = ".in_use"  # locked by every process that reads or writes a folder; its time says when that was last
SIZE, LOCK, DROPPED = ".size", ".lock", ".dropped-"


class Budget:
    """The bytes below `root`, of which there may be `max_bytes`.

    `root` has one folder per upstream. Where room is short, whole folders that no process uses are evicted, the least
    recently used first; what is in `own` stays.
    """

    def __init__(self, root: Path, own: Path, *, max_bytes: float) -> None:
        self.root, self.own, self.max_bytes = root, own, max_bytes
        root.mkdir(parents=True, exist_ok=True)
        with self.alone():  # or another process, short of room, could drop the folder between two lines
            # many runs that start together would wait for each other while each looks at every file of a network drive
            known = (root / SIZE).exists() and any(map(_is_used, root.glob(f"*/{IN_USE}")))
            own.mkdir(exist_ok=True)
            self._in_use: IO[str] | None = open(own / IN_USE, "a", opener=no_link)  # noqa: SIM115
            locks.lock(self._in_use, shared=True)
            os.utime(own / IN_USE)
            for leftover in root.glob(f"{DROPPED}*"):  # of a process that was killed while it made room
                shutil.rmtree(leftover, ignore_errors=True)
            if not known:
                with self._number() as file:  # what a killed process had reserved and not written is forgotten here
                    _write(file, _size_of(root))

    @property
    def used_bytes(self) -> int:
        """What all upstreams take now."""
        with self._counted() as file:
            return _read(file)

    def reserve(self, num_bytes: int) -> str | None:
        """Take room for a file that is about to be written; why there is none, else None."""
        with self._counted() as file:
            used = _read(file)
            while used + num_bytes > self.max_bytes and (freed := self._drop_one()):
                used = max(0, used - freed)
            fits = used + num_bytes <= self.max_bytes
            _write(file, used + num_bytes if fits else used)
        if not fits:
            return f"cache.max_gb={self.max_bytes / 1e9:g} is reached"
        if shutil.disk_usage(self.root).free < LEFT_FREE + num_bytes:
            self.release(num_bytes)
            return f"the disk of {self.root} has less than {LEFT_FREE / 1e9:g} GB left, which features never take"
        return None

    def release(self, num_bytes: int) -> None:
        """Give back what was reserved, or is no longer there."""
        with self._counted() as file:
            _write(file, max(0, _read(file) - num_bytes))

    def close(self) -> None:
        """Let others drop this upstream's folder."""
        if self._in_use:
            self._in_use.close()

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_in_use": None}  # the process that started a worker holds the folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For one process at a time, of all that use `root`."""
        with open(self.root / LOCK, "a", opener=no_link) as lock:
            locks.lock(lock)
            try:
                yield
            finally:  # closing would not do: a worker that is forked meanwhile has the file open, too
                locks.unlock(lock)

    def _number(self) -> IO[str]:
        """The file with the number of bytes."""
        return open(no_link(self.root / SIZE, os.O_RDWR | os.O_CREAT), "r+", encoding="utf-8")

    @contextmanager
    def _counted(self) -> Iterator[IO[str]]:
        """The file with the number of bytes, for one process at a time."""
        with self.alone(), self._number() as file:
            yield file

    def _drop_one(self) -> int:
        """Remove the folder of another upstream, unless it is in use; returns its bytes."""
        others = [path.parent for path in self.root.glob(f"*/{IN_USE}") if path.parent != self.own]
        for folder in sorted(others, key=lambda one: (one / IN_USE).stat().st_mtime):
            with open(folder / IN_USE, "a", opener=no_link) as file:
                if not locks.lock(file, wait=False, unknown=False):  # of a folder that may be in use, nothing is taken
                    continue
                freed = _size_of(folder)
                dropped = folder.with_name(f"{DROPPED}{folder.name}")
                folder.rename(dropped)
            shutil.rmtree(dropped)
            log.info("evicted %.1f GB of features of the least recently used upstream (%s)", freed / 1e9, folder)
            return freed
        return 0


def _is_used(path: Path) -> bool:
    """Whether a process reads or writes the folder of this file."""
    with open(path, "a", opener=no_link) as file:
        return not locks.lock(file, wait=False)


def _size_of(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name)).st_size
            except FileNotFoundError:  # another process has just renamed or removed it
                continue
    return total


def _read(file: IO[str]) -> int:
    file.seek(0)
    return int(file.read() or 0)


def _write(file: IO[str], number: int) -> None:
    file.seek(0)
    file.write(f"{number:020d}")  # over the number before: it is there whole at any moment, also on a full disk
    file.flush()
