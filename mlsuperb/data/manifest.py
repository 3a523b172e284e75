"""The manifest: one table of utterances, the only thing that everything behind the corpus readers knows of a corpus."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlsuperb.data.arrow import repeated, sorted_rows_digest, text_array
from mlsuperb.data.checks import usable_rows
from mlsuperb.data.skips import SkipReport, skip_text
from mlsuperb.types import Utterance

if TYPE_CHECKING:
    from mlsuperb.data.corpora.base import Corpus

__all__ = [
    "SPLIT_HASH_VERSION", "Prepared", "SkipReport", "prepare", "read_manifest", "skip_text",
    "split_hash", "summary", "to_frame", "utterances", "validate", "write_manifest",
]  # fmt: skip

COLUMNS = tuple(field.name for field in fields(Utterance))
SECONDS = ("start_s", "duration_s")
SPLITS = ("train", "dev", "test", "dev_dialect")
SPLIT_HASH_VERSION = 1
MANIFEST_VERSION = 1  # raise it when the same corpus and settings would give another manifest

_SCHEMA = pa.schema([(name, pa.float64() if name in SECONDS else pa.string()) for name in COLUMNS])
_ROW_GROUP = 2**20  # rows written at a time: text of 2 GB and more has no `pa.string` array
_FINGERPRINT = b"mlsuperb.fingerprint"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A corpus, ready to use: `manifest` with the columns of `Utterance`, and what was passed over on the way
    (`SkipReport.to_dict()`)."""

    manifest: pd.DataFrame
    skipped: dict[str, dict[str, Any]]


def prepare(corpus: Corpus, *, folder: Path | None) -> Prepared:
    """Read a corpus into a manifest.

    With a `folder`, the outcome is stored there (`manifest.parquet`, `skipped.json`) and used again as long as the
    settings and the corpus' `sources()` stay as they are. An audio file that is changed in place goes unnoticed.

    Raises:
        ValueError: the settings or the corpus need the user's attention.
    """
    settings = {field.name: getattr(corpus, field.name) for field in fields(corpus)}
    if problems := corpus.problems(**settings):
        raise ValueError(" ".join(problems))
    if folder is not None and (stored := _stored(Path(folder), _fingerprint(corpus))):
        return stored
    skipped = SkipReport()
    frame = usable_rows(corpus, to_frame(corpus.rows(skipped)), skipped)
    validate(frame)
    prepared = Prepared(frame, skipped.to_dict())
    _log.info("%d utterances; %s", len(frame), skipped)
    if folder is not None:
        # The fingerprint of now, not of before: some readers write audio files, which are sources, while they read.
        _store(prepared, Path(folder), _fingerprint(corpus))
    return prepared


def to_frame(rows: Iterable[Utterance]) -> pd.DataFrame:
    """Utterances as a table."""
    records = list(rows)
    return pd.DataFrame({name: [getattr(record, name) for record in records] for name in COLUMNS}).astype(
        dict.fromkeys(SECONDS, float)
    )


def utterances(frame: pd.DataFrame) -> list[Utterance]:
    """A table as utterances."""
    columns = (frame[name].tolist() for name in COLUMNS)
    return [Utterance(**dict(zip(COLUMNS, values, strict=True))) for values in zip(*columns, strict=True)]


def validate(frame: pd.DataFrame) -> None:
    """Check a manifest's columns, splits, times and ids.

    Raises:
        ValueError: it is no manifest.
    """
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise ValueError(f"this table is no manifest: it lacks {', '.join(missing)}. Needed are {', '.join(COLUMNS)}.")
    flaws: dict[str, Callable[[], pd.Series]] = {  # a mask at a time: each is as long as the manifest
        "holds an empty cell": lambda: _any(frame[name].isna() for name in COLUMNS),
        f"has a split that is none of {', '.join(SPLITS)}": lambda: ~frame["split"].isin(SPLITS),
        "has no positive duration": lambda: ~(frame["duration_s"] > 0),
        "starts before its file": lambda: frame["start_s"] < 0,
        "has the id of another row of its split": lambda: repeated(frame),
    }
    for flaw, find in flaws.items():
        mask = find()
        if mask.any():
            row = frame[mask].iloc[0]
            raise ValueError(
                f"bad manifest: row {row['id']!r} of split {row['split']!r} {flaw} ({int(mask.sum())} such rows). "
                "Prepare the data again: mlsuperb data prepare."
            )


def _any(masks: Iterable[pd.Series]) -> pd.Series:
    return reduce(or_, masks)


def write_manifest(frame: pd.DataFrame, path: Path, *, fingerprint: str = "") -> None:
    """Write a manifest as Parquet, in one step: a killed run leaves the old file or the new one."""
    validate(frame)
    scratch = _scratch(path)
    schema = _SCHEMA.with_metadata({_FINGERPRINT: fingerprint.encode()})
    with pq.ParquetWriter(scratch, schema) as writer:
        for first in range(0, max(1, len(frame)), _ROW_GROUP):
            rows = frame[list(COLUMNS)].iloc[first : first + _ROW_GROUP]
            table = pa.Table.from_pandas(rows, schema=_SCHEMA, preserve_index=False)
            writer.write_table(table.replace_schema_metadata(schema.metadata))
    os.replace(scratch, path)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest that `write_manifest` wrote. Text stays text: the language code `nan` is not a missing value.

    Raises:
        ValueError: the file is missing or is no manifest.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such manifest. Write it with mlsuperb data prepare.")
    try:
        # column by column into pandas' own form, each freed once it is there: 25 million rows are several GB
        frame = pq.read_table(path).to_pandas(split_blocks=True, self_destruct=True)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: this is no Parquet file ({error}). Delete it and prepare the data again.") from error
    validate(frame)
    return frame


def split_hash(frame: pd.DataFrame) -> str:
    """What makes two copies of one split comparable: `<version>:<sha256>` over id, dataset, language, duration to 10 ms
    and transcript of every row, whatever their order and wherever the audio lies."""
    assert frame["split"].nunique() <= 1, "split_hash takes the rows of one split"
    seconds = pa.array(frame["duration_s"].to_numpy(dtype=float)).dictionary_encode()
    rounded = pa.array([f"{duration_s:.2f}" for duration_s in seconds.dictionary.to_pylist()], pa.large_string())
    names = [text_array(frame[name]) for name in ("id", "dataset", "language")]
    digest = sorted_rows_digest([*names, rounded.take(seconds.indices), text_array(frame["text"])])
    return f"{SPLIT_HASH_VERSION}:{digest}"


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Sizes of a manifest: `splits` (utterances, hours, languages, datasets of each) and `cells` (utterances and
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


def _settings(corpus: Corpus) -> dict[str, Any]:
    return {"reader": f"{type(corpus).__module__}.{type(corpus).__qualname__}", **asdict(corpus)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _fingerprint(corpus: Corpus) -> str:
    """Changes with the settings and with the size or time of any source."""
    return _digest([MANIFEST_VERSION, _settings(corpus), [_stamp(path) for path in corpus.sources()]])


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return str(path.absolute()), -1, -1
    return str(path.absolute()), status.st_size, status.st_mtime_ns


def _stored(folder: Path, fingerprint: str) -> Prepared | None:
    """What an earlier call left in `folder`, if it is whole and nothing has changed since."""
    manifest, report = folder / "manifest.parquet", folder / "skipped.json"
    if not (manifest.is_file() and report.is_file()):
        return None
    try:
        metadata = pq.read_schema(manifest).metadata or {}
        stored = json.loads(report.read_text(encoding="utf-8"))
    except (pa.ArrowInvalid, json.JSONDecodeError) as error:
        _log.warning("%s: the stored manifest cannot be read and is made again (%s)", folder, error)
        return None
    if metadata.get(_FINGERPRINT, b"").decode() != fingerprint or stored.get("fingerprint") != fingerprint:
        return None
    _log.info("%s is up to date", manifest)
    return Prepared(read_manifest(manifest), stored["skipped"])


def _store(prepared: Prepared, folder: Path, fingerprint: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(prepared.manifest, folder / "manifest.parquet", fingerprint=fingerprint)
    report = folder / "skipped.json"
    scratch = _scratch(report)
    content = {"fingerprint": fingerprint, "skipped": prepared.skipped}
    scratch.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(scratch, report)


def _scratch(path: Path) -> Path:
    """A name beside `path` that no other process uses."""
    return Path(path).with_name(f".{Path(path).name}.{os.getpid()}")
