"""What every source of phones offers: the phones of utterances in the place of their transcripts."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from mlsuperb.data.phones.features import feature_table, without_features
from mlsuperb.data.phones.ipa import canonical, phones
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.lines import read_lines, wrong_lines

log = logging.getLogger(__name__)

MISSING_WORDS = "missing_words.tsv"  # language, word, times


class Spoken(NamedTuple):
    """The phones of an utterance; or why there are none, a reason by which it is skipped and counted, and the words that are
    to blame."""

    phones: tuple[str, ...] = ()
    why_not: str = ""
    missing: tuple[str, ...] = ()


@dataclass(kw_only=True)
class PhoneSource(ABC):
    """A source of phones (`data.phones`, added with `+data/phones=espeak`); a dataclass of its settings. With `task.units=phone`
    they are what is recognised; the transcripts of the manifest, and so the references of every score, are phones with spaces
    between them."""

    packages: ClassVar[tuple[str, ...]] = ()  # another version of theirs makes a stored manifest stale

    @property
    def remedy(self) -> str:
        """What may be mended where nothing is left, for a message: `, complete ...`."""
        return ""

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
        """The rows with phones as their texts; those without are dropped and counted in `skipped`, with the words that are
        missing (`MISSING_WORDS`). Where PanPhon is installed, a warning names the phones of each language that have no features.

        Raises:
            ValueError: there are languages of which this source has no phones; a file breaks its format.
        """
        self.check(set(frame["language"]))
        found: dict[Any, Spoken] = {}
        for code, rows in frame.groupby("language", sort=True, observed=True):
            found_here, language = self.spoken(rows, language=str(code)), str(code)
            found.update(zip(rows.index, found_here, strict=True))
            missing = Counter(word for one in found_here for word in one.missing)
            skipped.list_in(MISSING_WORDS, [f"{language}\t{word}\t{times}" for word, times in missing.most_common()])
            _warn_without_features(found_here, language)
        frame = frame.assign(text=[" ".join(found[row].phones) for row in frame.index])
        why_N = pd.Series([found[row].why_not for row in frame.index], index=frame.index, dtype=str)
        for reason in sorted(set(why_N) - {""}):
            skipped.count(frame[why_N == reason], reason)
        return frame[why_N == ""]


@dataclass(kw_only=True)
class GivenPhones(PhoneSource):
    """A source that reads files of phones in whatever notation.

    Args:
        path: the file, or the folder of files.
        map: a file with the IPA of phones that are in another notation, a line each: phone, tab, IPA (one phone, or several with
            spaces between them). A phone that it does not have stays as it is; `AH0` goes before `AH` where it has both.
    """

    path: str
    map: str | None = None

    @property
    def remedy(self) -> str:
        return f", complete data.phones.path={self.path}"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        path = settings.get("map")
        if path is None or Path(str(path)).is_file():
            return []
        return [f"data.phones.map={path}: there is no such file. Give lines of phone, tab, IPA; or leave it out."]

    def sources(self) -> list[Path]:
        return [] if self.map is None else [Path(self.map)]

    def ipa(self, text: str) -> tuple[str, ...]:
        """The phones of a text that has spaces between them, as `map` has them."""
        return tuple(phones(text, renamed=self._renamed))

    @cached_property
    def _renamed(self) -> dict[str, tuple[str, ...]]:
        return {} if self.map is None else read_map(Path(self.map))


def read_map(path: Path) -> dict[str, tuple[str, ...]]:
    """Phone (`ipa.canonical`) -> its IPA, of a file of `GivenPhones.map`.

    Raises:
        ValueError: a line has no tab or no phones, or a phone has two lines.
    """
    found: dict[str, tuple[str, ...]] = {}
    wrong, twice = [], []
    for number, line in read_lines(path):
        phone, _, pronounced = (part.strip() for part in line.partition("\t"))
        ipa, place = tuple(phones(pronounced)), f"{path}, line {number}: '{line}'"
        if line and (not ipa or len(phone.split()) != 1):
            wrong.append(place)
        elif line and found.setdefault(canonical(phone), ipa) != ipa:
            twice.append(place)
    if wrong:
        raise ValueError(f"{wrong_lines(wrong, what='no phone with its IPA')}. A line holds a phone, a tab and its IPA")
    if twice:
        raise ValueError(f"{wrong_lines(twice, what='a second IPA of a phone')}. Keep one line of each phone")
    return found


def _warn_without_features(spoken: Collection[Spoken], language: str) -> None:
    table = feature_table()
    said = Counter(phone for one in spoken for phone in one.phones)
    if table is not None and (unknown := without_features(said, table)):
        log.warning(
            "%s: %s have no features in PanPhon, so that PFER counts each of them as wrong where it is not recognised (PER does "
            "not ask). If they are no IPA, give it: data.phones.map=FILE, lines of phone, tab, IPA",
            language,
            unknown,
        )
