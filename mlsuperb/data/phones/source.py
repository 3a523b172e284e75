"""What every source of phones offers: the phones of utterances in the place of their transcripts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from mlsuperb.data.skips import SkipReport


class Spoken(NamedTuple):
    """The phones of an utterance; or why there are none, a reason by which it is skipped and counted."""

    phones: tuple[str, ...] = ()
    why_not: str = ""


@dataclass(kw_only=True)
class PhoneSource(ABC):
    """A source of phones (`data.phones`, added with `+data/phones=espeak`); a dataclass of its settings. With `task.units=phone`
    they are what is recognised; the transcripts of the manifest, and so the references of every score, are phones with spaces
    between them."""

    packages: ClassVar[tuple[str, ...]] = ()  # another version of theirs makes a stored manifest stale

    @abstractmethod
    def spoken(self, rows: pd.DataFrame, *, language: str) -> list[Spoken]:
        """The phones of each row of a manifest, all of one language.

        Raises:
            ValueError: a file breaks its format.
        """

    def check(self, languages: Collection[str]) -> None:  # noqa: B027  (some have phones of any language)
        """Refuse languages that this source has no phones of.

        Raises:
            ValueError: names them.
        """

    def sources(self) -> list[Path]:
        """The files whose change makes a stored manifest stale."""
        return []

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        """What is wrong with the settings, a full sentence each."""
        return []

    def apply(self, frame: pd.DataFrame, skipped: SkipReport) -> pd.DataFrame:
        """The rows with phones as their texts; those without are dropped and counted in `skipped`.

        Raises:
            ValueError: there are languages of which this source has no phones; a file breaks its format.
        """
        self.check(set(frame["language"]))
        found: dict[Any, Spoken] = {}
        for language, rows in frame.groupby("language", sort=True, observed=True):
            found.update(zip(rows.index, self.spoken(rows, language=str(language)), strict=True))
        frame = frame.assign(text=[" ".join(found[row].phones) for row in frame.index])
        why_N = pd.Series([found[row].why_not for row in frame.index], index=frame.index, dtype=str)
        for reason in sorted(set(why_N) - {""}):
            skipped.count(frame[why_N == reason], reason)
        return frame[why_N == ""]
