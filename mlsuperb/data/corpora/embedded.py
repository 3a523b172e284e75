"""Audio inside Parquet files, as `datasets` stores it (a column `audio` = struct{bytes, path}): written out once, one file per
utterance, so that it can be read in any order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlsuperb.data.parquet import check_columns, parquet_rows
from mlsuperb.runtime.files import replaced, write_atomic

Row = Mapping[str, Any]
Name = Callable[[int, Row], str | None]  # of the number of a row and the row


def rows_with_audio(
    shard: Path,
    folder: Path,
    *,
    texts: Sequence[str],
    name: Name,
    named_by: Sequence[str] = (),
    numbers: Sequence[str] = (),
    column: str = "audio",
) -> Iterator[tuple[int, dict[str, Any], str]]:
    """(number, row without its audio's bytes, path of its audio) of every row of a Parquet file, whose audio is written into
    `folder` before.

    A row without bytes (null, as `datasets` has them where the file lies beside) has the file at its `audio.path`, from the
    folder of the Parquet file on. Where there is none, the path is that of a file that is not there.

    Args:
        texts: the columns of text in a row.
        name: the file name of a row's audio; None: it has none, and its path is empty.
        named_by: those of `texts` that `name` needs.
        numbers: columns in a row that hold text or numbers.
        column: of the audio; in rows it is called `audio`.

    Raises:
        ValueError: it is no Parquet file that can be read, or lacks a column.
    """
    check_columns(shard, texts=texts, numbers=numbers, audio=column)
    write_audio(shard, folder, columns=named_by, name=name, column=column)
    written = set(os.listdir(folder))
    for number, row in parquet_rows(shard, [*texts, *numbers, f"{column}.path"]):
        row["audio"] = row[column]
        file = name(number, row)
        beside = os.path.join(os.path.abspath(shard.parent), path) if (path := path_of(row)) else ""
        audio = os.path.join(folder, file) if file else ""
        yield number, row, beside if file not in written and os.path.isfile(beside) else audio


def write_audio(shard: Path, folder: Path, *, columns: Sequence[str], name: Name, column: str = "audio") -> None:
    """Write the audio of a Parquet file into `folder`, unless that is done; a killed run goes on where it was. What is there of
    an earlier file under the name of a row without bytes is removed.

    `<shard>.completed`, written last, holds the shard's size and time and the names of the files, which are written again where
    one of them is gone.
    """
    status = shard.stat()
    stamp = f"{status.st_size} {status.st_mtime_ns}"
    marker = folder / f"{shard.stem}.completed"
    if marker.is_file():
        known, *names = marker.read_text(encoding="utf-8").splitlines()
        if known == stamp and set(os.listdir(folder)).issuperset(names):
            return
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, row in parquet_rows(shard, [*columns, column]):
        row["audio"] = row[column]
        try:
            file = name(number, row)
        except ValueError as error:
            raise ValueError(f"{shard}, row {number}: {error}") from error
        if file is None:
            continue
        target, content = folder / file, (row["audio"] or {}).get("bytes")
        if content is None:
            target.unlink(missing_ok=True)
            continue
        if not _holds(target, content):
            with replaced(target) as scratch:
                scratch.write_bytes(content)
        written.append(file)
    write_atomic(marker, [f"{line}\n" for line in (stamp, *written)])


def _holds(file: Path, content: bytes) -> bool:
    """By its bytes: of clips of one length, many files have the same size."""
    return file.is_file() and file.stat().st_size == len(content) and file.read_bytes() == content


def path_of(row: Row) -> str | None:
    """`audio.path` of a row, None where there is none."""
    path: str | None = (row["audio"] or {}).get("path")
    return path
