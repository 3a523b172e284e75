"""Phone marks as the text of utterances: what a corpus that was aligned to phones can be recognised in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mlsuperb.data.phones.ipa import phones
from mlsuperb.data.phones.source import PhoneSource, Spoken
from mlsuperb.units.phones import PHONES_FILE, SILENCES, Phones, read_phones

NO_MARKS = "without phone marks"


@dataclass(kw_only=True)
class PhoneMarks(PhoneSource):
    """The phones of time marks, in their order, without stress and without silences (`mlsuperb.units.phones.SILENCES`). They take
    the place of a transcript also where there is none (`data.text=optional`). Utterances without marks are skipped and counted.

    Args:
        path: a table (utterance, start, end, phone), or a folder of tables, TextGrids or label files, as `mlsuperb units quality
            --phones` takes them.
        tier: of TextGrids.
    """

    path: str
    tier: str = "phones"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        path = settings["path"]
        if Path(str(path)).exists():
            return []
        return [
            f"data.phones.path={path}: there is no such file or folder. Give the phone marks of this corpus ({PHONES_FILE}, "
            "TextGrids or label files)."
        ]

    def sources(self) -> list[Path]:
        path = Path(self.path)
        kinds = (PHONES_FILE, "*.TextGrid", "*.lab")
        return [path] if path.is_file() else sorted(file for kind in kinds for file in path.rglob(kind))

    def spoken(self, rows: pd.DataFrame, *, language: str) -> list[Spoken]:
        found = []
        for name in rows["id"]:
            marked = [one.phone for one in self._marks.get(name, []) if one.phone not in SILENCES]
            found.append(Spoken(tuple(phones(" ".join(marked)))) if marked else Spoken(why_not=NO_MARKS))
        return found

    @cached_property
    def _marks(self) -> Phones:
        return read_phones(Path(self.path), tier=self.tier)
