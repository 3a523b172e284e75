"""Tables that corpora are described in: CSV, TSV, JSON lines and Parquet, of which every cell is taken as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from mlsuperb.data.parquet import holds_audio, is_plain, parquet_rows, parquet_schema
from mlsuperb.runtime.lines import HALF_A_CHARACTER, is_text, raw_lines, read_objects

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")

_PIECE = 2**16  # rows that exist as Python objects at a time
_FIRST = 100
_KINDS = {list: "a list", dict: "an object", bool: "a truth value"}


class _Raw(NamedTuple):
    """A table before its cells are looked at: (place, row by name) of each row. The names of the columns of JSON lines are known
    once all rows were read."""

    names: dict[str, None]
    rows: Iterator[tuple[int, Mapping[str, Any]]]


def read_table(path: Path) -> pd.DataFrame:
    """A table of which every cell is text, `nan`, `NA` and the like included; an absent cell is empty text.

    Raises:
        ValueError: as `read_columns`.
    """
    return read_columns(path, None)[0]


def read_columns(path: Path, names: Collection[str] | None) -> tuple[pd.DataFrame, list[str]]:
    """Those of the columns `names` (None: of all) that a table has, and the names of all that it has. No other columns are looked
    at. The index says where a row stands: it is called `line` and holds the number of its first line, or `row` in a Parquet file.

    A TSV is taken as it is, with bare quotation marks, as Common Voice writes it; but where every quotation mark in it stands as
    a writer of CSV puts it (pandas), those of the writer are taken off.

    Raises:
        ValueError: the file breaks its format: a row has not as many fields as the heading, a line is no JSON object, a cell of a
            wanted column is neither text nor a number, ... The message names file and line.
    """
    suffix = path.suffix.lower()
    known, rows = _READERS.get(suffix, _READERS[".csv"])(path, names)
    word = "row" if suffix == ".parquet" else "line"
    places: list[int] = []
    pieces: dict[str, list[pa.Array]] = {}
    while piece := list(islice(rows, _PIECE)):
        for name in known:
            if names is None or name in names:
                absent = pa.array([""] * len(places), pa.large_string())  # JSON may first name it here
                cells = [_text(row.get(name), path, word, place, name) for place, row in piece]
                pieces.setdefault(name, [absent]).append(pa.array(cells, pa.large_string()))
        places += [place for place, _ in piece]
    wanted = [name for name in known if names is None or name in names]
    columns = {name: pa.chunked_array(pieces.get(name, []), pa.large_string()) for name in wanted}
    index = pd.Index(places, name=word, dtype="int64")
    return pd.DataFrame(pa.table(columns).to_pandas().set_axis(index) if columns else {}, index=index), list(known)


def column_names(path: Path) -> list[str]:
    """The names of the columns of a table; those of JSON lines that its first `_FIRST` rows bring.

    Raises:
        ValueError: as `read_columns`, of the first rows.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return list(parquet_schema(path).names)
    names, rows = _READERS.get(suffix, _READERS[".csv"])(path, None)
    if suffix in (".jsonl", ".json"):
        list(islice(rows, _FIRST))
    return list(names)


def _text(cell: Any, path: Path, word: str, place: int, name: str) -> str:
    if isinstance(cell, str):
        if not is_text(cell):
            raise ValueError(f"{path}, {word} {place}: {name} is {cell!a}, in which {HALF_A_CHARACTER}.")
        return cell
    if cell is None or cell != cell:  # pandas writes NaN for what is absent
        return ""
    if isinstance(cell, bool) or not isinstance(cell, (int, float, Decimal)):
        kind = _KINDS.get(type(cell), f"of type {type(cell).__name__}")
        raise ValueError(f"{path}, {word} {place}: {name} is {kind}, not text. Write it as text, or take the row out.")
    return str(cell)


def _delimited(path: Path, separator: str) -> _Raw:
    quoted = separator == "," or _is_quoted(path)
    rows = _quoted_rows(path, separator) if quoted else _bare_rows(path, separator)
    number, heading = next(rows, (0, []))
    if not heading:
        raise ValueError(
            f"{path} is no sound {path.suffix} table (it is empty). Begin it with the names of its columns."
        )
    named = [name for name in heading if name]  # spreadsheets leave columns without a name
    _refuse_double(f"{path}, line {number}", named)
    inside = "commas" if separator == "," else "tabs"
    hint = (
        f"Put quotation marks around cells that hold {inside}" if quoted else "Take tabs and line breaks out of cells"
    )

    def checked() -> Iterator[tuple[int, Mapping[str, Any]]]:
        for place, cells in rows:
            if len(cells) != len(heading):
                raise ValueError(
                    f"{path}, line {place}: {len(cells)} fields, where the heading (line {number}) has {len(heading)}. {hint}, "
                    "and give every row as many fields as the heading."
                )
            yield place, dict(zip(heading, cells, strict=True))

    return _Raw(dict.fromkeys(named), checked())


def _bare_rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row; quotation marks are text."""
    for number, line in raw_lines(path, newline=""):
        if cells := line.rstrip("\r\n"):
            yield number, cells.split(separator)


def _quoted_rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(first line, cells) of each row; within quotation marks a cell may hold separators and line breaks.

    Raises:
        ValueError: quotation marks are left open or close within a cell, or may have made one row of several.
    """
    raw: list[str] = []
    reader = csv.reader(_kept(path, raw), delimiter=separator, strict=True)
    first, width = 1, 0
    try:
        for cells in reader:
            width = width or len(cells)
            if len(raw) > 1 and all(len(line.split(separator)) >= width for line in raw if line.strip()):
                raise ValueError(
                    f"{path}, lines {first} to {reader.line_num}: the quotation marks make one row of these lines, each of "
                    "which could be a row of its own. If a mark is part of the text, double it and put marks around the cell; "
                    "if the cell has line breaks, write spaces for them."
                )
            if cells:
                yield first, cells
            first = reader.line_num + 1
            raw.clear()
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {first}: this is no sound row of a {path.suffix} table ({error}, line {reader.line_num}). Double the "
            "quotation marks within a cell, and put marks around the cell."
        ) from error


def _is_quoted(path: Path) -> bool:
    """Whether a TSV was written with quotation marks: every row that has some is what a writer of CSV makes of its cells. Common
    Voice's tables are not: their cells hold bare ones."""
    raw: list[str] = []
    reader = csv.reader(_kept(path, raw), delimiter="\t", strict=True)
    all_quoted, found = False, False
    try:
        for cells in reader:
            text = "".join(raw)
            raw.clear()
            all_quoted |= reader.line_num == 1 and text.startswith('"')
            if '"' in text:
                written, found = io.StringIO(), True
                writer = csv.writer(written, delimiter="\t", quoting=csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL)
                writer.writerow(cells)
                if written.getvalue().rstrip("\r\n") != text.rstrip("\r\n"):
                    return False
    except csv.Error:
        return False
    return found


def _kept(path: Path, raw: list[str]) -> Iterator[str]:
    """The lines of a file, which are added to `raw` as they are read."""
    for _, line in raw_lines(path, newline=""):
        raw.append(line)
        yield line


def _json_lines(path: Path) -> _Raw:
    names: dict[str, None] = {}

    def named() -> Iterator[tuple[int, Mapping[str, Any]]]:
        for place, row in read_objects(path):
            names.update(dict.fromkeys(row))
            yield place, row

    return _Raw(names, named())


def _parquet(path: Path, names: Collection[str] | None) -> _Raw:
    schema = parquet_schema(path)
    wanted = [name for name in schema.names if names is None or name in names]
    for name in wanted:
        kind = schema.field(name).type
        if holds_audio(kind):
            raise ValueError(
                f"{path}: the column {name!r} holds the audio itself ({kind}); tables name files. It is read by "
                f"data=hf data.path={path.parent}"
            )
        if not is_plain(kind):
            raise ValueError(
                f"{path}: the column {name!r} holds {kind}, neither text nor numbers. Name another column."
            )
    return _Raw(dict.fromkeys(schema.names), parquet_rows(path, wanted))


def _refuse_double(place: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{place}: more than one column is called {', '.join(twice)}. Rename all but one.")


_READERS: Mapping[str, Callable[[Path, Collection[str] | None], _Raw]] = {
    ".csv": lambda path, _: _delimited(path, ","),  # and any other suffix
    ".tsv": lambda path, _: _delimited(path, "\t"),
    ".jsonl": lambda path, _: _json_lines(path),
    ".json": lambda path, _: _json_lines(path),  # NeMo's manifests
    ".parquet": _parquet,
}
