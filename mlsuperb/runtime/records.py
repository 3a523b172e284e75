"""JSON that is written and read strictly, and small files of it, with one sentence for each way in which they can be damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Record = TypeVar("Record")


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

    return load_json(text, parse_constant=refuse)


def load_json(text: str, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Parse JSON in which no object has a name twice: Python would keep the last of them.

    Args:
        parse_constant: makes a value of `NaN`, `Infinity` and `-Infinity`; None: they are numbers.

    Raises:
        ValueError: `text` is no such JSON.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} occurs twice in an object")
        return found

    try:
        return json.loads(text, parse_constant=parse_constant, object_pairs_hook=once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_object(path: Path, *, remedy: str) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        remedy: what to do about a damaged one, a sentence.

    Raises:
        ValueError: the file holds none.
        OSError: it cannot be read.
    """
    try:
        content = load_json(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not even text
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
