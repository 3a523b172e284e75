"""Common Voice (commonvoice.mozilla.org), as its archives unpack, a folder for each language:

<root>/de/train.tsv, dev.tsv, test.tsv, validated.tsv, ...      columns path, sentence, client_id
<root>/de/clips/common_voice_de_123.mp3
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from mlsuperb.data.corpora.base import TO_THE_END_S, folder_problems
from mlsuperb.data.corpora.own import OwnCorpus
from mlsuperb.data.corpora.table_columns import chosen_columns
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

DATASET = "commonvoice"  # as ML-SUPERB calls its part of it
NO_TABLE = "missing table"
HELD_BACK = "validated clip of dev or test"
COLUMNS = {"audio": "path", "text": "sentence", "speaker": "client_id"}


@dataclass(kw_only=True)
class CommonVoice(OwnCorpus):
    """Reader of Common Voice: of those of its languages that are in the folder. Its locales become ISO 639-3 codes; `codes` says
    otherwise.

    Args:
        root: the folder that holds `de` and the like, or one of these.
        train: the table to train on. `validated` has every clip that listeners approved, many of a sentence or a speaker; those
            of dev and test are left out of it.
    """

    # Two languages that are written alike have one code of two letters
    special_codes: ClassVar[Mapping[str, str]] = {"zh-CN": "cmn", "zh-TW": "cmn", "zh-HK": "yue"}

    root: str
    train: Literal["train", "validated", "other"] = "train"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found, root = super().problems(**settings), settings.get("root")
        remedy = "Give the folder that holds a folder for each language, such as de, with clips and train.tsv in it."
        if bad_root := folder_problems(root, setting="data.root", remedy=remedy):
            return found + bad_root
        if not language_folders(Path(str(root))):
            found.append(f"data.root={root} holds no folder with clips/ and tables. {remedy}")
        return found

    def sources(self) -> list[Path]:
        tables = [folder / f"{name}.tsv" for folder in self._wanted() for name in self._names().values()]
        return [Path(self.root), *tables]

    def _names(self) -> dict[str, str]:
        return {"train": self.train, "dev": "dev", "test": "test"}

    def _wanted(self) -> list[Path]:
        return [folder for folder in language_folders(Path(self.root)) if self.wants(self.code(folder.name), DATASET)]

    def _rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for folder in self._wanted():
            tested: set[str] = set()
            for split in ("test", "dev", "train"):
                table = folder / f"{self._names()[split]}.tsv"
                if not table.is_file():
                    skipped.add(NO_TABLE, f"{folder.name}/{table.name}", split=split)
                    continue
                for row in _table(table, split):
                    if split != "train":
                        tested.add(row.id)
                    elif row.id in tested:
                        skipped.add(HELD_BACK, row.id, split=split)
                        continue
                    yield row


def language_folders(root: Path) -> list[Path]:
    """The folders of languages."""
    inner = sorted(path for path in (root, *root.iterdir()) if path.is_dir())
    return [path for path in inner if (path / "clips").is_dir() and any(path.glob("*.tsv"))]


def _table(path: Path, split: str) -> Iterator[Utterance]:
    """The rows of a table; the language is the folder's name."""
    known = ("audio", "text", "speaker")
    table = chosen_columns(path, known=known, needed=("audio", "text"), columns=COLUMNS, constants={}, group="data")
    clips, locale = os.path.abspath(path.parent / "clips"), Path(os.path.abspath(path)).parent.name
    for audio, text, speaker in table.itertuples(index=False, name=None):
        yield Utterance(
            id=Path(audio).stem,
            audio=os.path.join(clips, audio),
            start_s=0.0,
            duration_s=TO_THE_END_S,
            text=text.strip(),
            language=locale,
            dataset=DATASET,
            split=split,
            speaker=speaker,
        )
