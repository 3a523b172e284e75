"""What a stored manifest depends on: the settings of its reader, the corpus' lists and folders, and the audio files."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from mlsuperb.data.audio import files_of
from mlsuperb.data.corpora.base import Reader
from mlsuperb.data.preparation import Preparation

MANIFEST_VERSION = 3  # raise it when the same corpus and settings would give another manifest

_ADDED_SINCE = {
    "text": "required",
    "preparation": None,
    "decode": True,
    "hours_seed": None,
    "keep_quality": None,
    "path": None,
    "codes": None,
    "map_codes": True,
    "held_out": None,
}  # settings that old manifests lack: with these values they change nothing
MANY_ROWS = 100_000  # the files of so many are looked at in a second or two, at every start of a run

_NUM_THREADS = 16  # that wait for a file system
_PIECE = 2**16  # rows whose paths exist as Python objects at a time


def fingerprint(corpus: Reader) -> str:
    """Changes with the settings and with the size or time of any source."""
    identity = [MANIFEST_VERSION, _settings(corpus), [_stamp(path.absolute()) for path in corpus.sources()]]
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()


def file_stamps(files: Iterable[str], *, before_ns: float = math.inf) -> list[str]:
    """Size, time (ns) and path of each file, -1 where it is not there: a line per file, sorted and each once. What has come or
    changed after `before_ns` counts as not there: who looked at it then may have seen less."""
    listed = sorted(set(files))
    parts = [listed[first::_NUM_THREADS] for first in range(_NUM_THREADS)]
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        found = pool.map(lambda part: [_stamp(file, before_ns) for file in part], parts)
        return sorted(f"{size} {time_ns} {path}" for part in found for path, size, time_ns in part)


def stamped_file(stamp: str) -> str:
    """The path in a line of `file_stamps`."""
    return stamp.split(" ", 2)[2]


def audio_digest(audio: pd.Series) -> str:
    """sha256 of the sizes and times of all files that the audio of utterances is read from."""
    digest = hashlib.sha256()
    for first in range(0, len(audio), _PIECE):
        files = {file for one in audio.iloc[first : first + _PIECE] for file in files_of(one)}
        digest.update("\n".join(file_stamps(files)).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _settings(value: Any) -> Any:
    """The settings of a reader and of readers in it, each with its class."""
    if isinstance(value, Mapping):
        return {key: _settings(inner) for key, inner in value.items()}
    if isinstance(value, Preparation):
        return {**asdict(value), "sources": [_stamp(path) for path in value.sources()]}
    if not isinstance(value, Reader):
        return value
    given = {field.name: _settings(getattr(value, field.name)) for field in fields(value)}
    kept = {name: setting for name, setting in given.items() if _ADDED_SINCE.get(name, ...) != setting}
    return {"reader": f"{type(value).__module__}.{type(value).__qualname__}", **kept}


def _stamp(path: str | Path, before_ns: float = math.inf) -> tuple[str, int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: no file has such a name
        return str(path), -1, -1
    if max(status.st_mtime_ns, status.st_ctime_ns) >= before_ns:  # a copy may keep the first
        return str(path), -1, -1
    return str(path), status.st_size, status.st_mtime_ns
