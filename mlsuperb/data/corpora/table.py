"""Tables with one row per utterance, such as Common Voice's own lists: one table per split, or one with a column of splits. CSV,
TSV, JSON lines (NeMo's manifests, too) or Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mlsuperb.data.corpora.base import TO_THE_END_S
from mlsuperb.data.corpora.own import OwnCorpus
from mlsuperb.data.corpora.table_columns import chosen_columns, table_problems, to_numbers
from mlsuperb.data.corpora.tables import FORMATS, column_names
from mlsuperb.data.corpora.usual_names import split_in, split_named, usual_columns
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

KNOWN = ("id", "audio", "start_s", "duration_s", "text", "language", "dataset", "speaker")
OTHER_SPLIT = "row of a split that is none of train, dev and test"


@dataclass(kw_only=True)
class Table(OwnCorpus):
    """Reader of tables.

    Args:
        path: a table with a column `split`, or a folder that holds a table for each split, named by it (`train.csv`,
            `valid_manifest.jsonl`). Null: the tables are given one by one.
        train: file of the training split. Null: there is none; likewise `dev` and `test`.
        dev: file of the validation split.
        test: file of the test split.
        columns: manifest column -> the file's column, for those that differ. Columns are id, audio, text, language, dataset,
            speaker, split, start_s and duration_s; needed are audio and text. Usual names need not be given
            (`mlsuperb.data.corpora.usual_names`): they are looked for in tables of `path`, and in others that lack audio, text or
            language under the names given here. Rows without an id are numbered; a row is a segment of its file if it has
            start_s or duration_s.
        language: the language of all rows; null reads the column.
        dataset: the dataset of all rows; null reads the column.
        audio_root: where relative audio paths begin; null is the table's own folder.
    """

    path: str | None = None
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
        if (path := settings.get("path")) is None:
            return found + table_problems(settings, known=(*KNOWN, "split"), group=cls.group)
        if any(settings.get(split) is not None for split in ("train", "dev", "test")):
            return [*found, "data.path and data.train, dev or test are given. Leave one or the other out."]
        try:
            listed = {f"{split or 'path'}": str(table) for split, table in tables_at(Path(path)).items()}
        except ValueError as error:
            return [*found, str(error)]
        tables = {"train": next(iter(listed.values()))} if "path" in listed else listed
        return found + table_problems({**settings, **tables}, known=(*KNOWN, "split"), group=cls.group)

    def sources(self) -> list[Path]:
        folder = [Path(self.path)] if self.path is not None else []
        return [*folder, *(path for _, path in self._tables())]

    def _tables(self) -> list[tuple[str | None, Path]]:
        """(split, table); None: the table has a column of splits."""
        return list(self._split_paths() if self.path is None else tables_at(Path(self.path)).items())

    def _rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for split, path in self._tables():
            table = self._table(path, with_splits=split is None)
            root = os.path.abspath(self.audio_root or path.parent)
            table["audio"] = [os.path.normpath(os.path.join(root, audio)) for audio in table["audio"]]
            table["text"] = [text.strip() for text in table["text"]]
            table["start_s"] = to_numbers(path, table, "start_s", empty=0.0)
            table["duration_s"] = to_numbers(path, table, "duration_s", empty=TO_THE_END_S)
            splits = [split] * len(table) if split else [split_named(name) for name in table["split"]]
            for row, of in zip(table[list(KNOWN)].itertuples(index=False, name=None), splits, strict=True):
                if of is None:
                    skipped.add(OTHER_SPLIT, row[0])
                else:
                    yield Utterance(**dict(zip(KNOWN, row, strict=True)), split=of)

    def _table(self, path: Path, *, with_splits: bool) -> pd.DataFrame:
        needed = ("audio", "language", "dataset", *(("text",) if self.text == "required" else ()))
        constants = {"language": self.language, "dataset": self.dataset}
        extra = ("split",) if with_splits else ()
        return chosen_columns(
            path, known=(*KNOWN, *extra), needed=(*needed, *extra), columns=self._columns(path, constants),
            constants=constants, group=self.group,
        )  # fmt: skip

    def _columns(self, path: Path, constants: Mapping[str, str | None]) -> dict[str, str]:
        """`columns`, with usual names where the table is to be searched for them."""
        names = column_names(path)
        own = {ours: name for ours, name in self.columns.items() if name != ours}
        given = {**constants, **own}
        lacks = any(given.get(ours) is None and ours not in names for ours in ("audio", "text", "language"))
        if self.path is None and not lacks:
            return self.columns
        return {**self.columns, **usual_columns(names, place=str(path), given=given, group=self.group)}


def tables_at(path: Path) -> dict[str | None, Path]:
    """The table of each split in a folder; of a file, or of a folder with a single table that names no split, this one for None.

    Raises:
        ValueError: there is none, or there are several for a split.
    """
    if path.is_file():
        return {None: path}
    if not path.is_dir():
        raise ValueError(f"data.path={path}: there is no such file or folder. Give a table, or a folder of tables.")
    tables = sorted(one for one in path.iterdir() if one.suffix.lower() in FORMATS)
    found: dict[str | None, Path] = {}
    for table in tables:
        if (split := split_in(table.name)) is None:
            continue
        if split in found:
            raise ValueError(
                f"data.path={path} has {found[split].name} and {table.name}, each of which may be the {split} set. Give "
                f"data.{split}=FILE and likewise the others, in place of data.path."
            )
        found[split] = table
    if not found and len(tables) == 1:
        return {None: tables[0]}
    if not found:
        raise ValueError(
            f"data.path={path} holds no table whose name tells a split, such as train.csv ({', '.join(FORMATS)}). Give "
            "data.train=FILE data.dev=FILE data.test=FILE; `mlsuperb data new FOLDER` says how a folder is read."
        )
    return {split: found[split] for split in ("train", "dev", "test") if split in found}
