"""The manifest: one table of utterances or of text pairs, the only thing that all behind the corpus readers knows of a corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlsuperb.data.arrow import repeated, sorted_rows_digest, text_array
from mlsuperb.runtime.files import replaced
from mlsuperb.types import Utterance

SPLITS = ("train", "dev", "test", "dev_dialect")
SPLIT_HASH_VERSION = 1

_ROW_GROUP = 2**20  # rows written at a time: text of 2 GB and more has no `pa.string` array
_PIECE = 2**16  # rows that exist as records at a time
FINGERPRINT = b"mlsuperb.fingerprint"  # key of the metadata: what a stored manifest depends on


class RowType(Protocol):
    """A frozen dataclass of text and numbers that is a row of a manifest; it has at least an `id` and a `split`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    few_values: ClassVar[tuple[str, ...]]
    identity: ClassVar[tuple[str, ...]]


Record = TypeVar("Record", bound=RowType)


def columns(record: type[RowType]) -> tuple[str, ...]:
    """The columns of a manifest of such rows."""
    return tuple(field.name for field in fields(record))


def number_columns(record: type[RowType]) -> tuple[str, ...]:
    """Those that hold numbers; the others hold text."""
    return tuple(field.name for field in fields(record) if field.type in (float, "float"))


def to_frame(rows: Iterable[RowType], record: type[RowType] = Utterance) -> pd.DataFrame:
    """Records as a table."""
    listed = list(rows)
    frame = pd.DataFrame({name: [getattr(row, name) for row in listed] for name in columns(record)})
    return frame.astype(dict.fromkeys(number_columns(record), float))


def records(frame: pd.DataFrame, record: type[Record]) -> list[Record]:
    """A table as records."""
    names = list(columns(record))
    return [record(**dict(zip(names, row, strict=True))) for row in frame[names].itertuples(index=False, name=None)]


def each_record(frame: pd.DataFrame, record: type[Record]) -> Iterator[Record]:
    """The rows of a table as records, of which few exist at a time."""
    for first in range(0, len(frame), _PIECE):
        yield from records(frame.iloc[first : first + _PIECE], record)


def validate(frame: pd.DataFrame, record: type[RowType] = Utterance) -> None:
    """Check a manifest's columns, splits, times and ids.

    Raises:
        ValueError: it is no manifest of such records.
    """
    names = columns(record)
    if missing := [name for name in names if name not in frame.columns]:
        raise ValueError(f"this table is no manifest: it lacks {', '.join(missing)}. Needed are {', '.join(names)}.")
    flaws: dict[str, Callable[[], pd.Series]] = {  # a mask at a time: each is as long as the manifest
        "holds an empty cell": lambda: reduce(or_, (frame[name].isna() for name in names)),
        f"has a split that is none of {', '.join(SPLITS)}": lambda: ~frame["split"].isin(SPLITS),
        "has the id of another row of its split": lambda: repeated(frame),
    }
    if "duration_s" in names:
        flaws["has no positive duration"] = lambda: ~(frame["duration_s"] > 0)
        flaws["starts before its file"] = lambda: frame["start_s"] < 0
    for flaw, find in flaws.items():
        mask = find()
        if mask.any():
            row = frame[mask].iloc[0]
            raise ValueError(
                f"bad manifest: row {row['id']!r} of split {row['split']!r} {flaw} ({int(mask.sum())} such rows). "
                "Prepare the data again: mlsuperb data prepare."
            )


def write_manifest(
    frame: pd.DataFrame, path: Path, *, fingerprint: str = "", record: type[RowType] = Utterance
) -> None:
    """Write a manifest as Parquet, in one step: a killed run leaves the old file or the new one."""
    validate(frame, record)
    numbers = number_columns(record)
    plain = pa.schema([(name, pa.float64() if name in numbers else pa.string()) for name in columns(record)])
    schema = plain.with_metadata({FINGERPRINT: fingerprint.encode()})
    with replaced(Path(path)) as scratch, pq.ParquetWriter(scratch, schema) as writer:
        for first in range(0, max(1, len(frame)), _ROW_GROUP):
            rows = frame[plain.names].iloc[first : first + _ROW_GROUP]
            table = pa.Table.from_pandas(rows, schema=plain, preserve_index=False)
            writer.write_table(table.replace_schema_metadata(schema.metadata))


def read_manifest(path: Path, record: type[RowType] = Utterance) -> pd.DataFrame:
    """Read a manifest that `write_manifest` wrote. Text stays text: the language code `nan` is not a missing value.

    Raises:
        ValueError: the file is missing or is no manifest.
    """
    frame = _read([path])
    numbers = number_columns(record)
    for name in frame.columns.intersection(list(columns(record))):
        is_sound = pd.api.types.is_numeric_dtype if name in numbers else pd.api.types.is_string_dtype
        if not is_sound(frame[name]):
            kind = "numbers" if name in numbers else "text"
            raise ValueError(f"bad manifest: {path} has other values than {kind} in {name}. Prepare the data again.")
    validate(frame, record)
    return frame


def read_columns(paths: Sequence[Path], names: Sequence[str]) -> pd.DataFrame:
    """Some columns of manifests, one after the other. They were checked when they were written, and are not checked again.

    Raises:
        ValueError: a file is missing or is no manifest.
    """
    return _read(paths, columns=list(names)) if paths else to_frame([])[list(names)]


def read_split(path: Path, split: str) -> pd.DataFrame:
    """The utterances of a split, with their numbers in the manifest as the index; no others are held, and nothing is checked
    again.

    Raises:
        ValueError: the file is missing or is no manifest.
    """
    numbers = np.flatnonzero(read_columns([path], ["split"])["split"] == split)
    return _read([path], columns=list(columns(Utterance)), filters=pc.field("split") == split).set_axis(numbers)


def _read(paths: Sequence[Path], **chosen: Any) -> pd.DataFrame:
    if absent := [path for path in paths if not Path(path).is_file()]:
        raise ValueError(f"{absent[0]}: there is no such manifest. Write it with mlsuperb data prepare.")
    try:
        table = pq.read_table(list(map(str, paths)), partitioning=None, **chosen)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{paths[0]}: this is no Parquet file ({error}). Delete it and prepare the data again."
        ) from error
    # column by column into pandas' own form, each freed once it is there: 25 million rows are several GB
    return table.to_pandas(split_blocks=True, self_destruct=True)


def split_hash(frame: pd.DataFrame, record: type[RowType] = Utterance) -> str:
    """What makes two copies of one split comparable: `<version>:<sha256>` over the record's `identity` in every row (of
    speech: id, dataset, language, duration to 10 ms, transcript), whatever their order and wherever the audio lies."""
    assert frame["split"].nunique() <= 1, "split_hash takes the rows of one split"
    numbers = number_columns(record)
    cells = [_to_10_ms(frame[name]) if name in numbers else text_array(frame[name]) for name in record.identity]
    return f"{SPLIT_HASH_VERSION}:{sorted_rows_digest(cells)}"


def _to_10_ms(seconds: pd.Series) -> pa.LargeStringArray:
    known = pa.array(seconds.to_numpy(dtype=float)).dictionary_encode()
    return pa.array([f"{one:.2f}" for one in known.dictionary.to_pylist()], pa.large_string()).take(known.indices)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Sizes of a manifest of speech: `splits` (utterances, hours, languages, datasets of each) and `cells` (utterances and
    minutes of each split, language and dataset)."""
    splits = {}
    for split, rows in frame.groupby("split", sort=False):
        splits[str(split)] = {
            "num_utterances": len(rows),
            "hours": float(rows["duration_s"].sum() / 3600),
            "num_languages": int(rows["language"].nunique()),
            "num_datasets": int(rows["dataset"].nunique()),
        }
    cells = frame.groupby(["split", "language", "dataset"], as_index=False).agg(
        num_utterances=("id", "size"), minutes=("duration_s", "sum")
    )
    cells["minutes"] = cells["minutes"] / 60
    return {"splits": splits, "cells": cells.to_dict("records")}
