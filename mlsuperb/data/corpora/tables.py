"""Reading of the small text files that corpora are described in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of every line, stripped. Only line breaks end a line: a transcript may hold U+2028 and its like.

    Raises:
        ValueError: the file is not UTF-8.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, 1):
                yield number, line.strip()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text ({error}). Convert it, for example with iconv.") from error


def read_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """(first field, the rest or "") of every line that is not empty."""
    for _, line in read_lines(path):
        if line:
            key, *rest = line.split(maxsplit=1)
            yield key, rest[0] if rest else ""
