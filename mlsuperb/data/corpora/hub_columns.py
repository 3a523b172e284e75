"""Which columns of a file in the hub's form are audio, text, language and so on, and its rows by our names for these."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import soundfile

from mlsuperb.data.audio_file import EXTENSIONS
from mlsuperb.data.corpora.embedded import Row, path_of, rows_with_audio
from mlsuperb.data.corpora.tables import FORMATS, column_names, read_columns
from mlsuperb.data.corpora.usual_names import usual_columns
from mlsuperb.data.parquet import holds_audio, is_words, num_rows, parquet_rows, parquet_schema

_TABLES = tuple(suffix for suffix in FORMATS if suffix != ".parquet")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The names of the columns of a file; empty where it has none.

    Attributes:
        constants: our column -> the value of all rows.
        classes: our column -> names of the classes that its numbers stand for (`datasets`' ClassLabel).
    """

    audio: str
    text: str = ""
    language: str = ""
    speaker: str = ""
    dataset: str = ""
    id: str = ""
    constants: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def plain(self) -> dict[str, str]:
        """Those of text and numbers: our column -> the file's."""
        listed = {name: getattr(self, name) for name in ("text", "language", "speaker", "dataset", "id")}
        return {ours: name for ours, name in listed.items() if name and ours not in self.constants}

    @classmethod
    def of(cls, path: Path, *, given: Mapping[str, Any], needs_text: bool) -> Columns:
        """The columns of a file.

        Args:
            given: `columns` that the user named; `language` and `dataset` of all rows, or None; `otherwise`, the language of all
                rows where no column has it.

        Raises:
            ValueError: a column is missing, or it cannot be told which it is.
        """
        named: dict[str, str] = given["columns"]
        names, inside, classes = _described(path)
        constants = {ours: given[ours] for ours in ("language", "dataset") if given[ours] is not None}
        if gone := [f"{name!r} for {ours}" for ours, name in named.items() if name not in names]:
            raise ValueError(
                f"{path} has no column {', '.join(gone)}; it has {', '.join(names)}. Correct data.columns."
            )
        found = {ours: ours for ours in ("audio", "text", "language", "speaker") if ours in names} | named
        if "audio" not in found and len(inside) == 1:
            found["audio"] = inside[0]
        known = {**constants, **found}
        found |= usual_columns(names, place=str(path), given=known, but=("id", "split", "start_s", "duration_s"))
        if "language" not in {**found, **constants} and given["otherwise"] is not None:
            constants["language"] = given["otherwise"]
        remedies = {
            "audio": "'data.columns={audio: ITS_NAME}'",
            "language": "data.language=CODE or 'data.columns={language: ITS_NAME}'",
            **({"text": "'data.columns={text: ITS_NAME}', or data.text=optional"} if needs_text else {}),
        }
        for ours, remedy in remedies.items():
            if ours not in {**found, **constants}:
                raise ValueError(f"{path} has no column for {ours}; it has {', '.join(names)}. Give {remedy}.")
        kept = {ours: name for ours, name in found.items() if ours in cls.__dataclass_fields__}
        return cls(
            **kept, constants=constants, classes={ours: classes[name] for ours, name in kept.items() if name in classes}
        )


def read_rows(path: Path, folder: Path, columns: Columns) -> Iterator[tuple[int, dict[str, str], str]]:
    """(number, our columns as text, path of the audio) of each row of a file; audio inside of it is written into `folder`. The
    path is empty where a row has no audio.

    Raises:
        ValueError: the file cannot be read, or a column holds no text.
    """
    for number, row, audio in _raw_rows(path, folder, columns):
        texts = dict.fromkeys(("text", "language", "speaker", "dataset", "id"), "") | dict(columns.constants)
        for ours, name in columns.plain.items():
            texts[ours] = _text(row[name], columns.classes.get(ours))
        yield number, texts, audio


def first_rows(path: Path, columns: Columns, number: int) -> list[tuple[str, str, float]]:
    """(label of the language, path of the audio, seconds) of the first rows of a file. Of audio inside it nothing is written: the
    path is empty, and the seconds are those of the bytes; NaN where these are no audio, or not there."""
    wanted = list(dict.fromkeys([*columns.plain.values(), columns.audio]))
    if path.suffix in _TABLES:
        rows: list[dict[str, Any]] = read_columns(path, wanted)[0].head(number).to_dict("records")  # type: ignore[assignment]
    else:
        rows = [row for _, row in islice(parquet_rows(path, wanted), number)]
    found = []
    for row in rows:
        named, audio = columns.plain.get("language"), row[columns.audio]
        label = _text(row[named], columns.classes.get("language")) if named else columns.constants.get("language", "")
        if isinstance(audio, str):
            found.append((label, os.path.join(os.path.abspath(path.parent), audio), math.nan))
        else:
            found.append((label, "", _seconds(audio)))
    return found


def rows_in(path: Path) -> int:
    """How many rows a file has."""
    return len(read_columns(path, ())[0]) if path.suffix in _TABLES else num_rows(path)


def _seconds(audio: Any) -> float:
    content = audio.get("bytes") if isinstance(audio, dict) else None
    try:
        info = soundfile.info(io.BytesIO(content or b""))
    except soundfile.LibsndfileError:
        return math.nan
    return float(info.frames / info.samplerate)


def _raw_rows(path: Path, folder: Path, columns: Columns) -> Iterator[tuple[int, Row, str]]:
    root, plain = os.path.abspath(path.parent), list(dict.fromkeys(columns.plain.values()))
    if path.suffix in _TABLES:
        table = read_columns(path, [*plain, columns.audio])[0]
        for number, cells in enumerate(table.itertuples(index=False, name=None), 1):
            row = dict(zip(table.columns, cells, strict=True))
            yield number, row, os.path.join(root, row[columns.audio]) if row[columns.audio] else ""
        return
    kind = parquet_schema(path).field(columns.audio).type
    if holds_audio(kind):
        yield from rows_with_audio(path, folder, texts=(), numbers=plain, name=_audio_name, column=columns.audio)
        return
    if not is_words(kind):
        raise ValueError(
            f"{path}: the column {columns.audio!r} holds {kind}, neither audio files (struct<bytes, path>) nor paths of them. "
            "Name another column with 'data.columns={audio: ITS_NAME}'."
        )
    for number, row in parquet_rows(path, list(dict.fromkeys([*plain, columns.audio]))):
        yield number, row, os.path.join(root, row[columns.audio]) if row[columns.audio] else ""


def _described(path: Path) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """The names of all columns, of those that hold audio, and the names of classes of those that number them."""
    if path.suffix in _TABLES:
        return column_names(path), [], {}
    schema = parquet_schema(path)
    inside = [name for name in schema.names if holds_audio(schema.field(name).type)]
    about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = (about.get("info") or {}).get("features") or {}
    classes = {name: one["names"] for name, one in features.items() if isinstance(one, dict) and one.get("names")}
    return list(schema.names), inside, classes


def _text(cell: Any, classes: list[str] | None) -> str:
    if cell is None or cell != cell:
        return ""
    return classes[cell] if classes and isinstance(cell, int) and 0 <= cell < len(classes) else str(cell)


def _audio_name(number: int, row: Row) -> str | None:
    """The file name of a row's audio; None where it has none. Libsndfile finds the format by content."""
    if row["audio"] is None:
        return None
    suffix = Path(path_of(row) or "").suffix.lower()
    return f"{number:06d}{suffix if suffix in EXTENSIONS else '.audio'}"
