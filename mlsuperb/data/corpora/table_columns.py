"""What the readers of tables take of a table: the columns that they know, under whatever names, and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mlsuperb.data.corpora.tables import FORMATS, read_columns


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
    wanted = [columns.get(name, name) for name in known if constants.get(name) is None]
    table, names = read_columns(path, wanted)
    found: dict[str, Any] = {}
    for name in known:
        column = columns.get(name, name)
        if (constant := constants.get(name)) is not None:
            found[name] = [constant] * len(table)
        elif column in table.columns:
            found[name] = table[column]
        elif name in needed or column != name:
            raise ValueError(
                f"{path} has no column {column!r}{f' for {name}' * (column != name)}; it has {', '.join(names)}. Map it with "
                f"'{group}.columns={{{name}: ITS_NAME}}'" + (f", or set {group}.{name}." if name in constants else ".")
            )
        else:
            found[name] = [f"{path.stem}_{number:06d}" if name == "id" else "" for number in range(len(table))]
    return pd.DataFrame(found, index=table.index)


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
        ValueError: a cell is no finite number.
    """
    numbers = []
    for place, value in table[name].items():
        try:
            number = float(value) if value.strip() else None
        except ValueError:
            number = math.nan
        if number is not None and not math.isfinite(number):
            raise ValueError(
                f"{path}, {table.index.name} {place}: {value!r} in {name} is no number. Correct it, or leave the cell empty."
            )
        numbers.append(empty if number is None else number)
    return numbers
