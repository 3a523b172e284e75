"""Writing a file whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


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


def strict_json(value: Any, *, name: str, indent: int | None = None) -> str:
    """`value` as JSON that any reader takes: no NaN, no infinity.

    Raises:
        ValueError: it holds one, or something that is not JSON; `name` says what was to be written.
    """
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be written as JSON: {error}. An undefined number must be null") from error


def load_strict_json(text: str) -> Any:
    """Parse JSON in which NaN and infinity are errors.

    Raises:
        ValueError: `text` is no such JSON.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON; if it stands for the language `nan`, quote it")

    return json.loads(text, parse_constant=refuse)
