"""Parquet files that others wrote: their columns are looked at before they are read, and their errors name the file."""

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
    """(number, row) of every row, counted from 1: only these columns, which may be parts of others (`audio.path`).

    Raises:
        ValueError: it is no Parquet file that can be read.
    """
    with _errors_named(path), pq.ParquetFile(path) as file:
        number = 0
        for batch in file.iter_batches(_ROWS_WITH_AUDIO if "audio" in columns else _ROWS, columns=list(columns)):
            for number, row in enumerate(batch.to_pylist(), number + 1):  # noqa: B020
                yield number, row


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        ValueError: it is no Parquet file that can be read, or two columns have one name.
    """
    with _errors_named(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise ValueError(f"{path} has more than one column {', '.join(twice)}. Rename all but one.")
    return schema


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


def check_columns(path: Path, *, texts: Collection[str], audio: str = "audio") -> None:
    """Look whether a Parquet file has text in the columns `texts` and audio in the column `audio`.

    Raises:
        ValueError: it has not.
    """
    schema = parquet_schema(path)
    for name in (*texts, audio):
        if name not in schema.names:
            raise ValueError(f"{path} has no column {name!r}; it has {', '.join(schema.names)}. Get the file again.")
        kind = schema.field(name).type
        if name != audio and not is_words(kind):
            raise ValueError(f"{path}: the column {name!r} holds {kind}, not text. Get the file again.")
        if name == audio and not (holds_audio(kind) or pa.types.is_null(kind)):
            raise ValueError(f"{path}: the column {name!r} holds {kind}, not struct<bytes, path>. Get the file again.")


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: this is no Parquet file that can be read ({' '.join(str(error).split())}). Get it again, or write it anew."
        ) from error
