"""What readers of a user's own data share: labels of languages become ISO 639-3 codes, and a dev or test set that is missing can
be held out of the training data."""

from __future__ import annotations

import logging
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import pandas as pd
from pydantic import PositiveFloat

from mlsuperb.data.corpora.base import Corpus
from mlsuperb.data.languages import is_language, language_name, language_problems, nearest
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

NUM_SPEAKERS = 10  # of a language, at least, for whole speakers to be held out
MOST_HELD_OUT = 0.4  # of a language, for dev and for test each: something must be left to train on

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class OwnCorpus(Corpus):
    """A reader whose labels of languages need not be ISO 639-3 codes, and whose splits need not be complete.

    Args:
        codes: the code of each label of a language that cannot be found by itself, such as `{"Cantonese Chinese": yue}`.
        map_codes: find it for codes of two letters (`de`), bibliographic ones (`ger`), locales (`pt-BR`) and English names
            (`German`); the mapping is logged. Codes of ISO 639-3 and those in `extra_languages` stay as they are.
        held_out: of each (language, dataset) pair without a dev set, and of each without a test set, this share of the training
            utterances becomes one: whole speakers where at least `NUM_SPEAKERS` are known, in an order that depends on their
            names alone. Null: nothing is held out.
    """

    split_remedy: ClassVar[str] = "; data.held_out=0.1 takes a missing dev and test set from train"
    special_codes: ClassVar[Mapping[str, str]] = {}  # of labels that mean something else in this corpus than elsewhere

    codes: dict[str, str] | None = None
    map_codes: bool = True
    held_out: PositiveFloat | None = None

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        codes, extra = settings.get("codes") or {}, settings.get("extra_languages") or ()
        found = super().problems(**settings) + language_problems(codes.values(), setting="data.codes", extra=extra)
        if (share := settings.get("held_out")) is not None and share > MOST_HELD_OUT:
            found.append(
                f"data.held_out={share} is more than {MOST_HELD_OUT} for each of dev and test. Give a smaller share, such as 0.1."
            )
        return found

    @abstractmethod
    def _rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        """As `rows`, with the labels and splits of the corpus."""

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        coded = self._coded(self._rows(skipped))
        yield from coded if self.held_out is None else hold_out(list(coded), share=self.held_out, skipped=skipped)

    def code(self, label: str) -> str:
        """The code of a label, or the label itself where none is known."""
        known = {**self.special_codes, **(self.codes or {})}
        return known.get(label) or _code(label, extra=tuple(self.extra_languages), find=self.map_codes)

    def _coded(self, rows: Iterator[Utterance]) -> Iterator[Utterance]:
        codes: dict[str, str] = {}
        for row in rows:
            if (code := codes.get(row.language)) is None:
                code = codes[row.language] = self.code(row.language)
                self._refuse_unknown(code, row)
            yield row if code == row.language else replace(row, language=code)
        if mapped := {label: code for label, code in codes.items() if label != code}:
            told = ", ".join(f"{label} = {code} ({language_name(code)})" for label, code in sorted(mapped.items()))
            _log.warning(
                "languages: %s. Correct one with 'data.codes={LABEL: CODE}'; +data.map_codes=false maps none", told
            )

    def _refuse_unknown(self, code: str, row: Utterance) -> None:
        """Refuse a label that is no language, unless only others were asked for."""
        if self.languages is None and self.wants(code, row.dataset):
            setting = f"language of {row.id!r}"
            for problem in language_problems([code], setting=setting, extra=self.extra_languages):
                raise ValueError(f"{problem} Or say what it means: 'data.codes={{\"{code}\": CODE}}'.")


@cache
def _code(label: str, *, extra: tuple[str, ...], find: bool) -> str:
    if is_language(label, extra) or not (find and label.strip()):
        return label
    # how ISO 639-3 calls Swahili, Malay, Nepali, ...
    return nearest(label) or nearest(f"{label} (macrolanguage)") or label


def hold_out(rows: Sequence[Utterance], *, share: float, skipped: SkipReport) -> list[Utterance]:
    """The rows in their order; of each (language, dataset) pair without dev or test rows, some of its training rows are of that
    split. They are counted as kept."""
    pairs: dict[tuple[str, str], list[int]] = {}
    splits: dict[tuple[str, str], set[str]] = {}
    for place, row in enumerate(rows):
        splits.setdefault((row.language, row.dataset), set()).add(row.split)
        if row.split == "train":
            pairs.setdefault((row.language, row.dataset), []).append(place)
    found = list(rows)
    for pair, places in pairs.items():
        left = _in_groups([rows[place] for place in places], places, most=share * len(places))
        for split in ("test", "dev"):
            if split not in splits[pair]:
                taken: list[int] = []
                while len(left) > 1 and len(taken) < share * len(places):
                    taken += left.pop()
                for place in taken:
                    found[place] = replace(rows[place], split=split)
                moved = pd.DataFrame({"id": [rows[place].id for place in taken], "split": "train"})
                skipped.count(moved, f"held out of train for {split}", kept=True)
    return found


def _in_groups(rows: Sequence[Utterance], places: Sequence[int], *, most: float) -> list[list[int]]:
    """The places of rows by speaker, or one by one, in an order that looks random; those of speakers with more than `most` rows
    come first, so that they are taken last."""
    speakers = {row.speaker for row in rows}
    by_speaker = "" not in speakers and len(speakers) >= NUM_SPEAKERS
    groups: dict[str, list[int]] = {}
    for row, place in zip(rows, places, strict=True):
        groups.setdefault(row.speaker if by_speaker else row.id, []).append(place)
    order = sorted(groups, key=lambda name: (len(groups[name]) <= max(1, most), zlib.crc32(name.encode()), name))
    return [groups[name] for name in order]
