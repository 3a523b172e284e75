"""A table a split: CSV, TSV, JSON lines or Parquet with one row an utterance, such as Common Voice's own lists."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from mlsuperb.data.corpora.base import TO_THE_END_S, Corpus
from mlsuperb.data.corpora.tables import read_lines
from mlsuperb.data.languages import language_problems
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

KNOWN = ("id", "audio", "start_s", "duration_s", "text", "language", "dataset", "speaker")
FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(kw_only=True)
class Table(Corpus):
    """Reader of tables.

    Args:
        train: file of the training split. Null: there is none; likewise `dev` and `test`.
        dev: file of the validation split.
        test: file of the test split.
        columns: manifest column -> the file's column, for those that differ (Common Voice:
            `{audio: path, text: sentence, speaker: client_id}`). Columns are id, audio, text, language, dataset,
            speaker, start_s and duration_s; needed are audio and text. Rows without an id are numbered; a row is a
            segment of its file if it has start_s or duration_s.
        language: the language of all rows; null reads the column.
        dataset: the dataset of all rows; null reads the column.
        audio_root: where relative audio paths begin; null is the table's own folder.
    """

    train: str | None
    dev: str | None
    test: str | None
    columns: dict[str, str] = field(default_factory=dict)
    language: str | None = None
    dataset: str | None = "table"
    audio_root: str | None = None

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found = super().problems(**settings)
        if settings.get("language") is not None:
            extra = settings.get("extra_languages") or ()
            found += language_problems([settings["language"]], setting="data.language", extra=extra)
        if all(settings.get(split) is None for split in ("train", "dev", "test")):
            found.append("data.train, data.dev and data.test are all null. Give the path of at least one table.")
        for split in ("train", "dev", "test"):
            path = settings.get(split)
            if path is not None and not Path(path).is_file():
                found.append(
                    f"data.{split}={path}: there is no such file. Give the table's path, or null for no split."
                )
            elif path is not None and Path(path).suffix.lower() not in FORMATS:
                found.append(f"data.{split}={path}: the file must end in one of {', '.join(FORMATS)}.")
        if unknown := [name for name in settings.get("columns") or {} if name not in KNOWN]:
            found.append(f"data.columns: there is no {', '.join(unknown)}. Manifest columns are {', '.join(KNOWN)}.")
        return found

    def sources(self) -> list[Path]:
        return [path for _, path in self._files()]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for split, path in self._files():
            table = self._renamed(path, read_table(path))
            root = os.path.abspath(self.audio_root or path.parent)
            starts = [_seconds(path, value, empty=0.0) for value in table["start_s"]]
            durations = [_seconds(path, value, empty=TO_THE_END_S) for value in table["duration_s"]]
            others = [table[name] for name in KNOWN[4:]]
            rows = zip(table["id"], table["audio"], starts, durations, *others, strict=True)
            for utterance_id, audio, start_s, duration_s, text, language, dataset, speaker in rows:
                yield Utterance(
                    id=utterance_id,
                    audio=os.path.normpath(os.path.join(root, audio)),
                    start_s=start_s,
                    duration_s=duration_s,
                    text=text.strip(),
                    language=language,
                    dataset=dataset,
                    split=split,
                    speaker=speaker,
                )

    def _files(self) -> list[tuple[str, Path]]:
        names = {"train": self.train, "dev": self.dev, "test": self.test}
        return [(split, Path(name)) for split, name in names.items() if name is not None]

    def _renamed(self, path: Path, table: pd.DataFrame) -> pd.DataFrame:
        """The known columns of a table; constants and empty cells where it has none."""
        constants = {"language": self.language, "dataset": self.dataset}
        columns: dict[str, Any] = {}
        for name in KNOWN:
            column = self.columns.get(name, name)
            if (constant := constants.get(name)) is not None:
                columns[name] = [constant] * len(table)
            elif column in table.columns:
                columns[name] = table[column]
            elif name in ("audio", "text", "language", "dataset") or column != name:
                raise ValueError(
                    f"{path} has no column {column!r} for {name}; it has {', '.join(table.columns)}. Map it with "
                    f"'data.columns={{{name}: ITS_NAME}}'" + (f", or set data.{name}." if name in constants else ".")
                )
            elif name == "id":
                columns[name] = [f"{path.stem}_{number:06d}" for number in range(len(table))]
            else:
                columns[name] = [""] * len(table)
        return pd.DataFrame(columns)


def read_table(path: Path) -> pd.DataFrame:
    """A table of which every cell is text, `nan`, `NA` and the like included; an absent cell is empty text.

    Raises:
        ValueError: the file breaks its format.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".jsonl":
            return _text_cells(pd.DataFrame([json.loads(line) for _, line in read_lines(path) if line], dtype=object))
        if suffix == ".parquet":
            return _text_cells(pd.DataFrame(pq.read_table(path).to_pydict(), dtype=object))
        # Fields of a TSV hold bare quotation marks, in Common Voice for one
        style: dict[str, Any] = {"sep": "\t", "quoting": csv.QUOTE_NONE} if suffix == ".tsv" else {}
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", **style)
    except (json.JSONDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} is no sound {suffix} table ({error}). Correct the file.") from error


def _text_cells(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: ["" if value is None or value != value else str(value) for value in table[name].tolist()]
            for name in table.columns
        }
    )


def _seconds(path: Path, value: str, *, empty: float) -> float:
    try:
        return float(value) if value.strip() else empty
    except ValueError:
        raise ValueError(f"{path}: {value!r} in start_s or duration_s is no number of seconds. Correct it.") from None
