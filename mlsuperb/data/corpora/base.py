"""What every corpus reader offers: rows in a fixed order, and the settings which all readers of speech share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal

import pandas as pd
from pydantic import NonNegativeFloat, PositiveFloat

from mlsuperb.data.checks import usable_rows
from mlsuperb.data.languages import language_problems
from mlsuperb.data.manifest import Record
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

# YAML makes a truth value of `no` and a number of `nan`; `problems` explains that better than a type check
Codes = list[Any]
TO_THE_END_S = float("nan")  # a raw row's duration where only the audio file knows it


@dataclass(kw_only=True)
class Reader(ABC, Generic[Record]):
    """A reader of a corpus into rows of one kind; a dataclass of its settings. `prepare` makes a manifest of it."""

    record: ClassVar[type[Any]]  # what a row is
    group: ClassVar[str]  # where its settings stand, for messages: `data` (data.root=...) or `text`

    @abstractmethod
    def rows(self, skipped: SkipReport) -> Iterator[Record]:
        """Every wanted row, in a fixed order; what is skipped is counted in `skipped`. Paths are absolute; an utterance
        without a segment starts at 0 and lasts `TO_THE_END_S`.

        Raises:
            ValueError: a file of the corpus breaks its format.
        """

    @abstractmethod
    def usable(self, frame: pd.DataFrame, skipped: SkipReport) -> pd.DataFrame:
        """The rows of `frame` that can be used; what is dropped is counted in `skipped`.

        Raises:
            ValueError: something needs the user's attention.
        """

    @abstractmethod
    def sources(self) -> list[Path]:
        """The files and folders whose change (size, time) makes a stored manifest stale."""

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        """What is wrong with the settings, found without reading the corpus: a full sentence each."""
        return []

    def _split_paths(self) -> list[tuple[str, Path]]:
        """(split, path) of the settings `train`, `dev` and `test`, where they are given."""
        given = {split: getattr(self, split) for split in ("train", "dev", "test")}
        return [(split, Path(path)) for split, path in given.items() if path is not None]


@dataclass(kw_only=True)
class Corpus(Reader[Utterance]):
    """A reader of speech and what to take from it.

    Args:
        languages: keep only these language codes.
        datasets: keep only these datasets.
        pairs: keep only these [language, dataset] pairs.
        max_train_hours: of each (language, dataset) pair, train on the first utterances in corpus order which together
            last no longer than this, so that a smaller set is always a part of a larger one.
        max_duration_s: train and dev utterances above this are dropped (ML-SUPERB: 20 s); test is never filtered.
        min_duration_s: train and dev utterances of no more than this are dropped (ESPnet's `asr.sh`: 0.1 s).
        resample: convert files with another rate than 16 kHz when they are read; false makes such a file an error.
        extra_languages: codes outside ISO 639-3 to allow.
        on_bad: what to do about audio that is missing, unreadable or too short for its segment: count it and go on, or
            stop.
        text: `required` drops and counts utterances without a transcript; `optional` keeps them with an empty one (speech
            for pre-training), and then no file or column of transcripts is needed.
    """

    record: ClassVar = Utterance
    group: ClassVar = "data"
    synthetic: ClassVar[bool] = False  # whether a machine speaks: such results never share a table with real ones

    languages: Codes | None = None
    datasets: list[str] | None = None
    pairs: list[Codes] | None = None
    max_train_hours: PositiveFloat | None = None
    max_duration_s: PositiveFloat = 20.0
    min_duration_s: NonNegativeFloat = 0.1
    resample: bool = True
    extra_languages: Codes = field(default_factory=list)
    on_bad: Literal["skip", "error"] = "skip"
    text: Literal["required", "optional"] = "required"

    def usable(self, frame: pd.DataFrame, skipped: SkipReport) -> pd.DataFrame:
        return usable_rows(self, frame, skipped)

    def release(self) -> dict[str, Any] | None:
        """Which published release of the corpus this is: `name`, `whole` (everything that was asked for is there, and as
        published) and `why`, a sentence; None where a corpus has no releases. Looks for files; opens no audio."""
        return None

    def stand_ins(self) -> dict[str, tuple[str, str]]:
        """Of the languages that were asked for, those the corpus does not have: the language that takes the place of
        each, and why that one."""
        return {}

    def evaluation_splits(self) -> tuple[str, ...]:
        """The splits that results are made of."""
        return ("test",)

    def wants(self, language: str, dataset: str) -> bool:
        """Whether `languages`, `datasets` and `pairs` let this pair through."""
        return (
            (self.languages is None or language in self.languages)
            and (self.datasets is None or dataset in self.datasets)
            and (self.pairs is None or [language, dataset] in [list(pair) for pair in self.pairs])
        )

    def _restrictions(self, *names: str) -> str:
        """` with data.languages=[...]` and so on, for the restrictions among `names` and the common ones that are set."""
        given = {name: getattr(self, name) for name in ("languages", "datasets", "pairs", *names)}
        texts = [f"data.{name}={value}" for name, value in given.items() if value]
        return f" with {' '.join(texts)}" if texts else ""

    def _changes(self) -> list[str]:
        """The filters that make other data of a release than those that were published with it (ESPnet's)."""
        names = ("max_train_hours", "max_duration_s", "min_duration_s", "text")
        given = {name: getattr(self, name) for name in names}
        return [f"data.{name}={value}" for name, value in given.items() if value != getattr(Corpus, name)]

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        extra = settings.get("extra_languages") or ()
        pairs = settings.get("pairs") or []
        found = language_problems(settings.get("languages") or (), setting="data.languages", extra=extra)
        bad_pairs = [pair for pair in pairs if len(pair) != 2]
        found += [f"data.pairs: {pair!r} is not a [language, dataset] pair." for pair in bad_pairs]
        if not bad_pairs:
            found += language_problems([pair[0] for pair in pairs], setting="data.pairs", extra=extra)
        if settings.get("language") is not None:  # a reader's setting: of all its rows
            found += language_problems([settings["language"]], setting="data.language", extra=extra)
        return found


def folder_problems(path: str | None, *, setting: str, remedy: str) -> list[str]:
    """Why `path` cannot be used as a folder: one sentence, or none."""
    if path is not None and Path(path).is_dir():
        return []
    return [f"{setting}={path}: there is no such folder. {remedy}"]
