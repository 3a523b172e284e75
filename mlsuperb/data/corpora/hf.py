"""A data set of the Hugging Face Hub, or a copy of one in a folder: Parquet files with the audio inside, audio files with a
metadata.csv, or what `datasets` saved (`mlsuperb.data.corpora.hub_files` lists the layouts).

Audio inside of files is written out once, one file per utterance, so that it can be read in any order.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsuperb.data.checks import MISSING_AUDIO
from mlsuperb.data.corpora.base import TO_THE_END_S
from mlsuperb.data.corpora.hub_columns import Columns, read_rows
from mlsuperb.data.corpora.hub_files import (
    CARD,
    DEFAULT,
    DataFile,
    card_of,
    chosen_configs,
    data_files,
    fetch,
    local_paths,
    of_split,
)
from mlsuperb.data.corpora.own import OwnCorpus
from mlsuperb.data.languages import is_language, nearest
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

NO_SPLIT = "split that the data set does not have"
PARTIAL = "split of which the hub has converted the first 5 GB alone"
COLUMNS = ("audio", "text", "language", "speaker", "dataset", "id")

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class HubData(OwnCorpus):
    """Reader of data sets in the hub's forms.

    Args:
        path: a data set on the hub (`google/fleurs`), a folder with a copy of one, or a Parquet file.
        config: the configuration that is read (`datasets` calls it `name`, the hub a subset); a list of them is read as one
            corpus, each a language by its name (`[de_de, sw_ke]`) or by `codes`. Null: the only one, or the one called `default`.
        train: the data set's name of the training split, several joined with `+`; null: none is read.
        dev: of the validation split.
        test: of the test split.
        revision: branch or commit on the hub; null: its newest, or the hub's own conversion to Parquet where it has none.
        columns: manifest column (audio, text, language, speaker, dataset, id) -> the data set's, for those that are not found
            under their own or a usual name. Rows are numbered unless `id` is given.
        language: the language of all rows.
        dataset: the dataset's name in tables; null: the last part of `path`.
        audio_folder: where audio is written, in a folder of this data set.
    """

    path: str
    config: str | list[str] | None = None
    train: str | None = "train"
    dev: str | None = "validation"
    test: str | None = "test"
    revision: str | None = None
    columns: dict[str, str] | None = None
    language: str | None = None
    dataset: str | None = None
    audio_folder: str = "data/hf"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found, path = super().problems(**settings), str(settings.get("path"))
        if not _is_local(path) and (
            path.count("/") != 1 or path.startswith((".", "/", "~")) or path.endswith(".parquet")
        ):
            found.append(
                f"data.path={path}: there is no such folder or file, and a data set on the hub is called OWNER/NAME."
            )
        if unknown := [name for name in settings.get("columns") or {} if name not in COLUMNS]:
            found.append(f"data.columns: there is no {', '.join(unknown)}. Columns are {', '.join(COLUMNS)}.")
        if all(settings.get(split, "") is None for split in ("train", "dev", "test")):
            found.append("data.train, data.dev and data.test are all null. Name at least one split.")
        return found

    def sources(self) -> list[Path]:
        """The files of a folder (a download does not change by itself), and the folder of written audio."""
        if not _is_local(self.path):
            return [self._written()]
        root, paths = self._local()
        return [root, *(root / name for name in (CARD, *paths)), self._written()]

    def _rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        root, parts = self.parts()
        for split, config, files in parts:
            if not files:
                skipped.add(NO_SPLIT, config, split=split)
            yield from self._split(root, files, split, skipped)

    def parts(self) -> tuple[Path, list[tuple[str, str, list[DataFile]]]]:
        """The folder of the data set; (split, configuration, files) of what is read, in its order. A data set of the hub is
        downloaded first.

        Raises:
            ValueError: there are none.
        """
        root, files = self._files()
        configs = chosen_configs(files, self._asked(), place=self.path)
        splits = {split: str(name) for split, name in self._split_paths()}
        found = [
            (split, config, of_split([file for file in files if file.config == config], name))
            for config in configs
            for split, name in splits.items()
        ]
        joined = [part for name in splits.values() if "+" in name for part in name.split("+")]
        absent = [name for name in joined if not of_split(files, name)]
        if absent or not any(part for _, _, part in found):
            names = ", ".join(dict.fromkeys(file.split for file in files))
            raise ValueError(
                f"{self.path} has no split {' or '.join(absent or splits.values())}; it has {names}. Name one with "
                "data.train=NAME (likewise data.dev, data.test)."
            )
        return root, found

    def _asked(self) -> list[str]:
        return [self.config] if isinstance(self.config, str) else self.config or []

    def _files(self) -> tuple[Path, list[DataFile]]:
        if _is_local(self.path):
            root, paths = self._local()
        else:
            root, paths = fetch(self.path, revision=self.revision, configs=self._asked())
        card = root / CARD
        files = data_files(paths, card_of(card.read_text(encoding="utf-8")) if card.is_file() else {})
        if not files:
            raise ValueError(
                f"data.path={self.path} holds no Parquet or Arrow files and no metadata.csv, .jsonl or .parquet that names audio "
                "files. `mlsuperb data new FOLDER` says how a folder is read."
            )
        return root, files

    def _local(self) -> tuple[Path, list[str]]:
        path = Path(self.path)
        return (path.parent, [path.name]) if path.is_file() else (path, local_paths(path))

    def _split(self, root: Path, files: Sequence[DataFile], split: str, skipped: SkipReport) -> Iterator[Utterance]:
        number = 0
        for file in files:
            if file.partial:
                skipped.add(PARTIAL, f"{file.config}/{file.split}", split=split)
                _log.warning("%s: the hub has converted the first 5 GB of split %s alone", self.path, file.split)
            columns = self.columns_of(root, file)
            folder = self._written() / Path(file.path).with_suffix("")
            for _, row, audio in read_rows(root / file.path, folder, columns):
                number += 1
                prefix = "" if file.config == DEFAULT else f"{file.config}_"
                row_id = row["id"] if columns.id else f"{prefix}{split}_{number:06d}"
                if not audio:
                    skipped.add(MISSING_AUDIO, row_id, split=split)
                    continue
                yield Utterance(
                    id=row_id,
                    audio=audio,
                    start_s=0.0,
                    duration_s=TO_THE_END_S,
                    text=row["text"].strip(),
                    language=row["language"],
                    dataset=row["dataset"],
                    split=split,
                    speaker=row["speaker"],
                )

    def columns_of(self, root: Path, file: DataFile) -> Columns:
        """Which columns of a file are what.

        Raises:
            ValueError: one is missing, or it cannot be told which it is.
        """
        return Columns.of(root / file.path, given=self._given(file.config), needs_text=self.text == "required")

    def _given(self, config: str) -> dict[str, Any]:
        """What the settings say about the columns of the files of a configuration."""
        name = os.path.basename(os.path.abspath(self.path)).removesuffix(".parquet")
        has_column = "dataset" in (self.columns or {})
        given = {"columns": self.columns or {}, "dataset": self.dataset or (None if has_column else name)}
        language = self.language or (config if config in (self.codes or {}) else None)
        by_name = None if config == DEFAULT or not self._names_language(config) else config
        if isinstance(self.config, list):
            return {**given, "language": language or by_name, "otherwise": None}
        return {**given, "language": language, "otherwise": by_name}

    def _names_language(self, config: str) -> bool:
        return is_language(config, self.extra_languages) or (self.map_codes and nearest(config) is not None)

    def _written(self) -> Path:
        """The folder of written audio: of its own for each folder, or for each data set and revision."""
        path = Path(self.path)
        if _is_local(self.path):
            place = os.path.abspath(path)
            name = f"{path.stem}-{zlib.crc32(place.encode()):08x}"
        else:
            name = "--".join((*self.path.split("/"), *((self.revision.replace("/", "-"),) if self.revision else ())))
        return Path(os.path.abspath(self.audio_folder), name)


def _is_local(path: str) -> bool:
    return os.path.exists(path)
