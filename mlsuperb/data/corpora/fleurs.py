"""FLEURS-102 (arXiv 2205.12446): about ten hours of read sentences in each of 102 languages, as `google/fleurs` on the Hugging
Face Hub has it, in either of its forms:

<root>/af_za/train.tsv                   sentence, file, raw transcription, transcription, its letters, samples, gender
<root>/af_za/audio/train/<file>          unpacked from audio/train.tar.gz
<root>/af_za/dev.tsv, test.tsv, ...      likewise

<root>/af_za/.../*train*.parquet         or with `train` in a folder's name; columns transcription, raw_transcription,
<root>/af_za/.../*validation*.parquet    audio = struct{bytes, path}
<root>/af_za/.../*test*.parquet

`fleurs.json` has the ISO 639-3 code of each folder, chosen as ML-SUPERB labels its own FLEURS part.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveFloat

from mlsuperb.data.checks import MISSING_AUDIO
from mlsuperb.data.corpora.base import TO_THE_END_S, Corpus, folder_problems
from mlsuperb.data.corpora.embedded import Row, path_of, rows_with_audio
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.lines import read_lines
from mlsuperb.types import Utterance

DATASET, SPLITS = "fleurs", ("train", "dev", "test")
NUM_FIELDS = 7
STRAY = "file or folder that is no language of FLEURS"
NO_SPLIT = "missing table or Parquet files"
NO_TEXT = "no transcript"
REPEATED = "file that occurs before"

_SPLIT = re.compile(r"train|validation|dev|test")


@cache
def languages() -> dict[str, str]:
    """The ISO 639-3 code of each folder."""
    found: dict[str, str] = json.loads(
        files("mlsuperb.data.corpora").joinpath("fleurs.json").read_text(encoding="utf-8")
    )
    return found


@dataclass(kw_only=True)
class Fleurs(Corpus):
    """Reader of FLEURS: of those of its 102 languages that are in the folder.

    Args:
        root: the folder that holds `af_za` and the like, or whose folder `data` does.
        transcript: `normalised` is FLEURS' own: lower case, without punctuation; `raw` has both.
        audio_folder: where the audio of Parquet files is written, one file per utterance.
        max_duration_s: as in all corpora, but 30 s by default.
    """

    root: str
    transcript: Literal["normalised", "raw"] = "normalised"
    audio_folder: str = "data/fleurs/audio"
    max_duration_s: PositiveFloat = 30.0

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found, root = super().problems(**settings), settings.get("root")
        remedy = "Give the folder that holds af_za and the like (data/README.md)."
        if bad_root := folder_problems(root, setting="data.root", remedy=remedy):
            return found + bad_root
        if not any((_base(Path(str(root))) / name).is_dir() for name in languages()):
            found.append(f"data.root={root} holds no folder of a language, such as af_za. {remedy}")
        return found

    def sources(self) -> list[Path]:
        folders = [folder for folder, _ in self._folders()]
        tables = [folder / f"{split}.tsv" for folder in folders for split in SPLITS]
        audio = [place / split for folder in folders for place in (folder / "audio", folder) for split in SPLITS]
        shards = [shard for folder in folders for split in SPLITS for shard in _shards(folder, split)]
        written = [Path(self.audio_folder, shard.relative_to(_base(Path(self.root))).parts[0]) for shard in shards]
        return [_base(Path(self.root)), *tables, *audio, *shards, *sorted(set(written))]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for path in sorted(_base(Path(self.root)).iterdir()):
            if path.name not in languages():
                skipped.add(STRAY, path.name)
        for folder, language in self._folders():
            for split in SPLITS:
                seen: set[str] = set()
                for name, audio, text in self._split(folder, split, skipped):
                    utterance_id = f"{folder.name}_{Path(name).stem}"
                    if name in seen:
                        skipped.add(REPEATED, utterance_id, split=split)
                    elif not text and self.text == "required":
                        skipped.add(NO_TEXT, utterance_id, split=split)
                    else:
                        seen.add(name)
                        yield Utterance(
                            id=utterance_id,
                            audio=audio,
                            start_s=0.0,
                            duration_s=TO_THE_END_S,
                            text=text,
                            language=language,
                            dataset=DATASET,
                            split=split,
                        )

    def _folders(self) -> list[tuple[Path, str]]:
        """(folder, language) of the wanted languages."""
        base = _base(Path(self.root))
        known = [(base / name, language) for name, language in languages().items() if self.wants(language, DATASET)]
        return [(folder, language) for folder, language in known if folder.is_dir()]

    def _split(self, folder: Path, split: str, skipped: SkipReport) -> Iterator[tuple[str, str, str]]:
        """(file name, path of the audio, transcript) of every utterance."""
        if shards := _shards(folder, split):
            for shard in shards:
                yield from self._shard(shard, split, skipped)
        elif (folder / f"{split}.tsv").is_file():
            yield from self._table(folder, split)
        else:
            skipped.add(NO_SPLIT, f"{folder.name}/{split}", split=split)

    def _table(self, folder: Path, split: str) -> Iterator[tuple[str, str, str]]:
        table, audio = folder / f"{split}.tsv", folder / "audio" / split
        if not audio.is_dir() and (folder / split).is_dir():  # some unpack the archives beside the tables
            audio = folder / split
        if not audio.is_dir() and (packed := audio.with_name(f"{split}.tar.gz")).is_file():
            raise ValueError(
                f"{packed} is not unpacked. Unpack this and the others: for one in {folder.parent}/*/audio/*.tar.gz; do "
                'tar -xzf "$one" -C "$(dirname "$one")"; done'
            )
        for number, line in read_lines(table, newline="\n"):
            fields = line.split("\t")
            if line and len(fields) != NUM_FIELDS:
                raise ValueError(
                    f"{table}, line {number}: {len(fields)} fields, where FLEURS has {NUM_FIELDS} (sentence, file, raw "
                    "transcription, transcription, letters, samples, gender). Download the file again."
                )
            if line:
                _, name, raw, normalised, *_ = fields
                yield name, os.path.abspath(audio / name), (raw if self.transcript == "raw" else normalised).strip()

    def _shard(self, shard: Path, split: str, skipped: SkipReport) -> Iterator[tuple[str, str, str]]:
        text = "raw_transcription" if self.transcript == "raw" else "transcription"
        folder = Path(os.path.abspath(self.audio_folder), shard.relative_to(_base(Path(self.root))).parts[0], split)
        for number, row, audio in rows_with_audio(shard, folder, texts=(text,), name=_audio_name):
            if (name := _audio_name(number, row)) is None:
                skipped.add(MISSING_AUDIO, f"{shard.name}, row {number}", split=split)
            else:
                yield name, audio, (row[text] or "").strip()


def _base(root: Path) -> Path:
    """The folder that holds the languages: the download has them in `data`."""
    return root / "data" if (root / "data").is_dir() else root


def _shards(folder: Path, split: str) -> list[Path]:
    """The Parquet files of a split; the hub's conversion calls the development set `validation`."""
    names = {"dev": ("dev", "validation")}.get(split, (split,))
    found = []
    for path in sorted(folder.rglob("*.parquet")):
        words = _SPLIT.findall(path.relative_to(folder).as_posix())
        if words and words[-1] in names:
            found.append(path)
    return found


def _audio_name(_: int, row: Row) -> str | None:
    """The file name of a row of a Parquet file; None where it has no audio.

    Raises:
        ValueError: its audio has no name.
    """
    if row["audio"] is None:
        return None
    if not (path := path_of(row)):
        raise ValueError(
            "a Parquet file of data.root has rows without audio.path, which names the files in FLEURS. Download it again, or "
            "take the tables and archives instead (data/README.md)."
        )
    return Path(path).name
