"""Phone marks as the text of utterances: what a corpus that was aligned to phones can be recognised in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mlsuperb.data.phones.ipa import without_stress
from mlsuperb.data.phones.source import GivenPhones, Spoken
from mlsuperb.units.phones import PHONES_FILE, SILENCES, Phones, read_phones

NO_MARKS = "without phone marks"


@dataclass(kw_only=True)
class PhoneMarks(GivenPhones):
    """The phones of time marks, in their order, without stress and without silences (`mlsuperb.units.phones.SILENCES`). They take
    the place of a transcript also where there is none (`data.text=optional`). Utterances without marks are skipped and counted.

    Args:
        path: a table (utterance, start, end, phone), or a folder of tables, TextGrids or label files, as `mlsuperb units quality
            --phones` takes them.
        map: see `GivenPhones`.
        tier: of TextGrids.
    """

    tier: str = "phones"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        path, found = settings["path"], super().problems(**settings)
        if Path(str(path)).exists():
            return found
        return [
            *found,
            f"data.phones.path={path}: there is no such file or folder. Give the phone marks of this corpus ({PHONES_FILE}, "
            "TextGrids or label files).",
        ]

    def sources(self) -> list[Path]:
        path = Path(self.path)
        kinds = (PHONES_FILE, "*.TextGrid", "*.lab")
        marks = [path] if path.is_file() else sorted(file for kind in kinds for file in path.rglob(kind))
        return [*marks, *super().sources()]

    def spoken(self, rows: pd.DataFrame, *, language: str) -> list[Spoken]:
        found = []
        for name in rows["id"]:
            marked = [one.phone for one in self._marks.get(name, []) if without_stress(one.phone) not in SILENCES]
            found.append(Spoken(self.ipa(" ".join(marked))) if marked else Spoken(why_not=NO_MARKS))
        return found

    @cached_property
    def _marks(self) -> Phones:
        return read_phones(Path(self.path), tier=self.tier, stress=True)
