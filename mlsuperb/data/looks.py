"""What was found in the audio files of a corpus. It is kept beside the manifest, so that a file is decoded again only when its
size or time has changed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import soundfile
from tqdm import tqdm

from mlsuperb.data.audio_file import CUT_AUDIO, END_TOLERANCE_S, AudioError, audio_info, file_of
from mlsuperb.data.skips import NUM_EXAMPLES
from mlsuperb.runtime.files import replaced, stamp

MANY_FILES = 100_000  # so many are looked at in a second or two, at every start of a run

_NUM_READERS = 16  # threads that wait for files, or decode
_PIECE = 2**10  # files whose stamps a thread takes at a time
_VERSION = f"1, libsndfile {soundfile.__libsndfile_version__}"  # raise the number when a look would find something else
_KEY = b"mlsuperb.looks"
_log = logging.getLogger(__name__)


class Look(NamedTuple):
    """What was found in a file: a row of a table of looks, whose index is the `audio` of utterances.

    Attributes:
        fault: a reason to skip it, empty where there is none.
        why: a sentence about that.
        rate_hz: 0 where it is not known.
        readable_s: seconds, up to the fault.
        size: bytes before the look, -1 where it was not there.
        time_ns: of its last change, likewise.
        decoded: whether all of it was decoded, as far as damage can hide in its coding.
    """

    fault: str
    why: str
    rate_hz: int
    readable_s: float
    size: int
    time_ns: int
    decoded: bool


def _table(looks: Sequence[Look], paths: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(looks, columns=list(Look._fields), index=pd.Series(paths, dtype="str", name="audio"))
    numbers = {"rate_hz": "int64", "readable_s": "float64", "size": "int64", "time_ns": "int64", "decoded": "bool"}
    return table.astype({"fault": "str", "why": "str", **numbers})


NO_LOOKS = _table([], [])


def look_at(paths: Sequence[str], *, decode: bool, known: pd.DataFrame) -> pd.DataFrame:
    """A look at each of these files, as a table. The first of each fault are logged.

    Args:
        decode: decode the files in which damage can hide.
        known: earlier looks, which hold for the files that have not changed since.
    """
    known = known[(known["decoded"] == decode) & known.index.isin(paths)]
    known = known[~changed(known)]
    unchanged = set(known.index)
    rest = [path for path in paths if path not in unchanged]
    with ThreadPoolExecutor(_NUM_READERS) as pool:
        looks = pool.map(lambda path: _look(path, decode=decode), rest)
        doing = "decode audio" if decode else "audio headers"
        found = list(tqdm(looks, total=len(rest), desc=doing, unit="file", disable=None if rest else True))
    for fault in dict.fromkeys(look.fault for look in found if look.fault):
        for one in [look for look in found if look.fault == fault][:NUM_EXAMPLES]:
            _log.warning("%s: %s", fault, one.why)
    return pd.concat([known, _table(found, rest)])


def changed(looks: pd.DataFrame) -> np.ndarray:
    """Of which files the size or time is another than when they were looked at (N,)."""
    pieces = [looks.index[first : first + _PIECE] for first in range(0, len(looks), _PIECE)]
    with ThreadPoolExecutor(_NUM_READERS) as pool:
        found = pool.map(lambda piece: [stamp(file_of(path)) for path in piece], pieces)
        now = [one for piece in found for one in piece]
    return (looks[["size", "time_ns"]].to_numpy() != np.array(now, np.int64).reshape(-1, 2)).any(axis=1)


def write_looks(looks: pd.DataFrame, path: Path) -> None:
    """Write a table of looks, in one step."""
    table = pa.Table.from_pandas(looks)
    with replaced(path) as scratch:
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, _KEY: _VERSION.encode()}), scratch)


def read_looks(path: Path | None, *, many: bool = True) -> pd.DataFrame:
    """Looks that were written to `path`; none where there are none, or what wrote them would find something else today.

    Args:
        many: all of them; otherwise, of more than `MANY_FILES`, those at files that could not be used.
    """
    if path is None:
        return NO_LOOKS
    try:
        if (pq.read_schema(path).metadata or {}).get(_KEY) != _VERSION.encode():
            return NO_LOOKS
        few = not many and pq.read_metadata(path).num_rows > MANY_FILES
        bad = (pc.field("fault") != "") | (pc.field("readable_s") <= 0)
        return pq.read_table(path, partitioning=None, filters=bad if few else None).to_pandas()
    except (pa.ArrowException, OSError):
        return NO_LOOKS


def _look(path: str, *, decode: bool) -> Look:
    size, time_ns = stamp(file_of(path))  # first: what is written during the look counts as a change
    try:
        info = audio_info(path, decode=decode)
    except AudioError as error:
        return Look(error.fault, str(error), 0, error.readable_s, size, time_ns, decode)
    fault, why = "", ""
    if info.missing_s > END_TOLERANCE_S:
        fault, why = CUT_AUDIO, f"{path}: {info.cut_short} Get it again, or take it out."
    return Look(fault, why, info.rate_hz, info.duration_s, size, time_ns, decode)
