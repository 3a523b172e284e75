"""Parquet files that others wrote, and the Arrow files in folders that `datasets` saved: their columns are looked at before they
are read, and their errors name the file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_ROWS = 2**12  # rows that exist as Python objects at a time, but for those with audio
_ROWS_WITH_AUDIO = 64


def parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, row) of every row, counted from 1: only these columns, which may be parts of others (`audio.path`). Few rows are
    held at a time.

    Raises:
        ValueError: it is no such file that can be read.
    """
    with _errors_named(path):
        number = 0
        for batch in (_arrow_batches if path.suffix == ".arrow" else _parquet_batches)(path, columns):
            for number, row in enumerate(batch.to_pylist(), number + 1):  # noqa: B020
                yield number, row


def _parquet_batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, pre_buffer=False) as file:  # which would hold the whole file
        yield from file.iter_batches(_at_a_time(file.schema_arrow, columns), columns=list(columns))


def _arrow_batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
        size = _at_a_time(stream.schema, columns)
        for batch in stream:
            table = pa.table(
                {name: _part(batch, name, columns) for name in {one.split(".")[0]: None for one in columns}}
            )
            yield from table.to_batches(size)


def _part(batch: pa.RecordBatch, name: str, columns: Sequence[str]) -> pa.Array:
    """A column of a batch, or those of its parts that `columns` names."""
    inner = [one.partition(".")[2] for one in columns if one.startswith(f"{name}.")]
    column = batch.column(name)
    if name in columns or not inner:
        return column
    return pa.StructArray.from_arrays([column.field(one) for one in inner], names=inner, mask=column.is_null())


def _at_a_time(schema: pa.Schema, columns: Sequence[str]) -> int:
    audio = any(name in schema.names and holds_audio(schema.field(name).type) for name in columns)
    return _ROWS_WITH_AUDIO if audio else _ROWS


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of a file.

    Raises:
        ValueError: it is no Parquet or Arrow file that can be read, or two columns have one name.
    """
    with _errors_named(path):
        if path.suffix == ".arrow":
            with pa.memory_map(str(path)) as source:
                schema = pa.ipc.open_stream(source).schema
        else:
            schema = pq.read_schema(path)
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise ValueError(f"{path} has more than one column {', '.join(twice)}. Rename all but one.")
    return schema


def num_rows(path: Path) -> int:
    """The rows of a file.

    Raises:
        ValueError: it is no Parquet or Arrow file that can be read.
    """
    with _errors_named(path):
        if path.suffix == ".arrow":
            with pa.memory_map(str(path)) as source:
                return sum(batch.num_rows for batch in pa.ipc.open_stream(source))
        return int(pq.read_metadata(path).num_rows)


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text or numbers."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return numbers or is_words(kind)


def is_words(kind: pa.DataType) -> bool:
    """Whether it holds text, or nothing but nulls."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def holds_audio(kind: pa.DataType) -> bool:
    """Whether it holds audio files as `datasets` stores them, struct{bytes, path}."""
    return pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}


def check_columns(path: Path, *, texts: Collection[str], audio: str = "audio", numbers: Collection[str] = ()) -> None:
    """Look whether a file has text in the columns `texts`, text or numbers in `numbers`, and audio in the column `audio`.

    Raises:
        ValueError: it has not.
    """
    schema = parquet_schema(path)
    for name in (*texts, *numbers, audio):
        if name not in schema.names:
            raise ValueError(f"{path} has no column {name!r}; it has {', '.join(schema.names)}. Get the file again.")
        kind = schema.field(name).type
        if name in texts and not is_words(kind):
            raise ValueError(f"{path}: the column {name!r} holds {kind}, not text. Get the file again.")
        if name in numbers and not is_plain(kind):
            raise ValueError(
                f"{path}: the column {name!r} holds {kind}, neither text nor numbers. Name another column."
            )
        if name == audio and not (holds_audio(kind) or pa.types.is_null(kind)):
            raise ValueError(f"{path}: the column {name!r} holds {kind}, not struct<bytes, path>. Get the file again.")


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = "Arrow" if path.suffix == ".arrow" else "Parquet"
        raise ValueError(
            f"{path}: this is no {kind} file that can be read ({' '.join(str(error).split())}). Get it again, or write it anew."
        ) from error
