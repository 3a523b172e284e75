"""Small JSON files that earlier commands wrote, read with one sentence for each way in which they can be damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

Record = TypeVar("Record")


def json_object(path: Path, *, remedy: str) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        remedy: what to do about a damaged one, a sentence.

    Raises:
        ValueError: the file holds none.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not JSON, or not even text
        raise ValueError(f"{path} is not JSON ({error}). {remedy}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object. {remedy}")
    return content


def from_json(kind: type[Record], path: Path, *, remedy: str) -> Record:
    """The dataclass that a file holds the fields of.

    Raises:
        ValueError: it holds other fields, or is damaged.
        OSError: it cannot be read.
    """
    content = json_object(path, remedy=remedy)
    try:
        return kind(**content)
    except TypeError as error:
        raise ValueError(f"{path} does not hold what it should ({error}). {remedy}") from error
