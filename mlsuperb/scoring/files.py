"""JSON without NaN and infinity, which other readers do not know."""

from __future__ import annotations

import json
from typing import Any


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
