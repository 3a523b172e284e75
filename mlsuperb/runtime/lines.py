"""Text files that are read line by line: UTF-8, pairs of fields, JSON objects."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlsuperb.runtime.records import load_json

HALF_A_CHARACTER = "a half of a surrogate pair stands alone, as of an emoji that was cut: write the whole character"
NUM_PLACES = 20  # lines that an error names
_KINDS = {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}


def read_lines(path: Path, *, newline: str | None = None) -> Iterator[tuple[int, str]]:
    """(number, text) of every line, stripped. Only line breaks end a line: a transcript may hold U+2028 and its like. With
    `newline="\\n"`, a lone carriage return ends none either.

    Raises:
        ValueError: the file is not UTF-8, or a line holds a NUL character.
    """
    for number, line in raw_lines(path, newline=newline):
        yield number, line.strip()


def raw_lines(path: Path, *, newline: str | None = None) -> Iterator[tuple[int, str]]:
    """(number, text) of every line as it stands, line break included; otherwise as `read_lines`.

    Raises:
        ValueError: as `read_lines`.
    """
    with open(path, encoding="utf-8-sig", newline=newline) as file:
        try:
            for number, line in enumerate(file, 1):
                if "\0" in line:
                    raise _other_encoding(path, number, "it holds a NUL character")
                yield number, line
        except UnicodeDecodeError as error:
            # a decoder reads ahead of the lines
            raise _other_encoding(path, _first_that_is_not_utf8(path), str(error)) from error


def wrong_lines(places: Sequence[str], *, what: str) -> str:
    """The beginning of an error on all lines of a file, or of several, that break its format, so that they are mended at once.

    Args:
        places: `FILE, line 2: 'hello'` for each.
        what: they are not, such as `no entry`.
    """
    if len(places) == 1:
        return f"{places[0]} is {what}"
    more = f"; and {len(places) - NUM_PLACES:,} more" if len(places) > NUM_PLACES else ""
    return f"{len(places):,} lines are {what}: {'; '.join(places[:NUM_PLACES])}{more}"


def read_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """(first field, the rest or "") of every line that is not empty.

    Raises:
        ValueError: as `read_lines`.
    """
    for _, line in read_lines(path):
        if line:
            key, *rest = line.split(maxsplit=1)
            yield key, rest[0] if rest else ""


def unique(pairs: Iterable[tuple[str, Any]], *, path: Path) -> dict[str, Any]:
    """The pairs that were read from `path` by their keys.

    Raises:
        ValueError: a key occurs twice.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{path}: {key} has more than one line. Take all but one out.")
        found[key] = value
    return found


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, object) of every line of a file of JSON lines that is not empty.

    Raises:
        ValueError: as `read_lines`, or a line is no JSON object.
    """
    for number, line in read_lines(path):
        if line:
            yield number, _json_object(line, place=f"{path}, line {number}")


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold it: JSON may name half of a surrogate pair."""
    return text.isascii() or _encodes(text)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_object(line: str, *, place: str) -> dict[str, Any]:
    try:
        found = load_json(line)
    except ValueError as error:
        problem = f"this is no JSON object ({error})"
    else:
        if isinstance(found, dict):
            return found
        problem = f"this is {_KINDS.get(type(found), 'a number')}, not a JSON object"
    remedy = " The lines of a file that is one array are printed by: jq -c '.[]' FILE." if line[0] == "[" else ""
    raise ValueError(f"{place}: {problem}. Write one object per line.{remedy}")


def _other_encoding(path: Path, number: int, why: str) -> ValueError:
    with open(path, "rb") as file:
        marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    known = "UTF-16" if marked else "ITS_ENCODING"
    return ValueError(
        f"{path}, line {number}: this is not UTF-8 text ({why}). Convert it, for example with iconv -f {known} -t UTF-8."
    )


def _first_that_is_not_utf8(path: Path) -> int:
    with open(path, "rb") as file:
        return next((number for number, line in enumerate(file, 1) if not _is_utf8(line)), 0)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
