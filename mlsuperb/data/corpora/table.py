"""One table per split: CSV, TSV, JSON lines or Parquet with one row per utterance, such as Common Voice's own lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlsuperb.data.corpora.base import TO_THE_END_S, Corpus
from mlsuperb.data.corpora.tables import chosen_columns, table_problems, to_numbers
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

KNOWN = ("id", "audio", "start_s", "duration_s", "text", "language", "dataset", "speaker")


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
        return super().problems(**settings) + table_problems(settings, known=KNOWN, group=cls.group)

    def sources(self) -> list[Path]:
        return [path for _, path in self._split_paths()]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        needed = ("audio", "language", "dataset", *(("text",) if self.text == "required" else ()))
        constants = {"language": self.language, "dataset": self.dataset}
        for split, path in self._split_paths():
            table = chosen_columns(
                path, known=KNOWN, needed=needed, columns=self.columns, constants=constants, group=self.group
            )
            root = os.path.abspath(self.audio_root or path.parent)
            table["audio"] = [os.path.normpath(os.path.join(root, audio)) for audio in table["audio"]]
            table["text"] = [text.strip() for text in table["text"]]
            table["start_s"] = to_numbers(path, table, "start_s", empty=0.0)
            table["duration_s"] = to_numbers(path, table, "duration_s", empty=TO_THE_END_S)
            for row in table.itertuples(index=False, name=None):
                yield Utterance(**dict(zip(KNOWN, row, strict=True)), split=split)
