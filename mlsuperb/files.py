"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def write_atomic(path: Path, pieces: Iterable[str]) -> None:
    """Write `pieces` one after the other to a temporary name beside `path`, then give it its name.

    Raises:
        OSError: the disk is full, the folder cannot be written, ...; an earlier file at `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"could not write {path}: {error.strerror}. An earlier file of that name is untouched; free some space or "
            "write elsewhere, then start the same command again",
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
