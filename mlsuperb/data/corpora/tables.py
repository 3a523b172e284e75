"""Reading of the files that corpora are described in: lines of text, and tables (CSV, TSV, JSON lines, Parquet)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")


def read_lines(path: Path, *, newline: str | None = None) -> Iterator[tuple[int, str]]:
    """(number, text) of every line, stripped. Only line breaks end a line: a transcript may hold U+2028 and its like. With
    `newline="\\n"`, a lone carriage return ends none either.

    Raises:
        ValueError: the file is not UTF-8.
    """
    with open(path, encoding="utf-8-sig", newline=newline) as file:
        try:
            for number, line in enumerate(file, 1):
                yield number, line.strip()
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error) from error


def read_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """(first field, the rest or "") of every line that is not empty."""
    for _, line in read_lines(path):
        if line:
            key, *rest = line.split(maxsplit=1)
            yield key, rest[0] if rest else ""


def read_table(path: Path) -> pd.DataFrame:
    """A table of which every cell is text, `nan`, `NA` and the like included; an absent cell is empty text.

    Raises:
        ValueError: the file breaks its format.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".jsonl":
            return _text_cells(pd.DataFrame([json.loads(line) for _, line in read_lines(path) if line], dtype=object))
        if suffix == ".parquet":
            return _text_cells(pd.DataFrame(pq.read_table(path).to_pydict(), dtype=object))
        # Fields of a TSV hold bare quotation marks, in Common Voice for one
        style: dict[str, Any] = {"sep": "\t", "quoting": csv.QUOTE_NONE} if suffix == ".tsv" else {}
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", **style)
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    except (json.JSONDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} is no sound {suffix} table ({error}). Correct the file.") from error


def chosen_columns(
    path: Path,
    *,
    known: Sequence[str],
    needed: Sequence[str],
    columns: Mapping[str, str],
    constants: Mapping[str, str | None],
    group: str,
) -> pd.DataFrame:
    """The `known` columns of the table at `path`; constants where they are given, numbered ids and empty cells where it has
    none.

    Args:
        needed: columns that it must have, or a constant in their place.
        columns: known column -> the file's own name of it, where that differs.
        constants: known column -> the value of all rows, or None.
        group: where these settings stand, for messages.

    Raises:
        ValueError: the file breaks its format, or lacks a column.
    """
    table = read_table(path)
    found: dict[str, Any] = {}
    for name in known:
        column = columns.get(name, name)
        if (constant := constants.get(name)) is not None:
            found[name] = [constant] * len(table)
        elif column in table.columns:
            found[name] = table[column]
        elif name in needed or column != name:
            raise ValueError(
                f"{path} has no column {column!r} for {name}; it has {', '.join(table.columns)}. Map it with "
                f"'{group}.columns={{{name}: ITS_NAME}}'" + (f", or set {group}.{name}." if name in constants else ".")
            )
        else:
            found[name] = [f"{path.stem}_{number:06d}" if name == "id" else "" for number in range(len(table))]
    return pd.DataFrame(found)


def table_problems(settings: Mapping[str, Any], *, known: Sequence[str], group: str) -> list[str]:
    """What is wrong with the settings of a reader of one table per split: a full sentence each."""
    paths = {split: settings.get(split) for split in ("train", "dev", "test")}
    found = []
    if all(path is None for path in paths.values()):
        names = [f"{group}.{split}" for split in paths]
        found.append(f"{', '.join(names[:-1])} and {names[-1]} are all null. Give the path of at least one table.")
    for split, path in paths.items():
        if path is not None and not Path(path).is_file():
            found.append(f"{group}.{split}={path}: there is no such file. Give the table's path, or null for no split.")
        elif path is not None and Path(path).suffix.lower() not in FORMATS:
            found.append(f"{group}.{split}={path}: the file must end in one of {', '.join(FORMATS)}.")
    if unknown := [name for name in settings.get("columns") or {} if name not in known]:
        found.append(f"{group}.columns: there is no {', '.join(unknown)}. Manifest columns are {', '.join(known)}.")
    return found


def to_numbers(path: Path, table: pd.DataFrame, name: str, *, empty: float) -> list[float]:
    """A column of a table as numbers; `empty` where a cell is empty.

    Raises:
        ValueError: a cell is no number.
    """
    numbers = []
    for value in table[name]:
        try:
            numbers.append(float(value) if value.strip() else empty)
        except ValueError:
            raise ValueError(f"{path}: {value!r} in {name} is no number. Correct it.") from None
    return numbers


def _text_cells(table: pd.DataFrame) -> pd.DataFrame:
    cells = {name: table[name].tolist() for name in table.columns}
    return pd.DataFrame(
        {name: ["" if one is None or one != one else str(one) for one in values] for name, values in cells.items()}
    )


def _not_utf8(path: Path, error: UnicodeDecodeError) -> ValueError:
    """The error for a file that is not UTF-8, with the first line that is not: a decoder reads ahead of the lines."""
    with open(path, "rb") as file:
        number = next((number for number, line in enumerate(file, 1) if not _is_utf8(line)), 0)
    return ValueError(f"{path}, line {number}: this is not UTF-8 text ({error}). Convert it, for example with iconv.")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
