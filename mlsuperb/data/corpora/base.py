"""What every corpus reader offers: rows in a fixed order, and the settings which all readers of speech share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from mlsuperb.data.checks import FILTERED_SPLITS, refuse_duplicates, refuse_unknown_languages, some, with_durations
from mlsuperb.data.languages import extra_problems, language_problems
from mlsuperb.data.looks import NO_LOOKS
from mlsuperb.data.manifest import to_frame
from mlsuperb.data.phones.source import PhoneSource
from mlsuperb.data.preparation import Preparation
from mlsuperb.data.skips import SkipReport
from mlsuperb.data.training_hours import beyond_hours
from mlsuperb.types import Utterance

# YAML makes a truth value of `no`, the command line a number of `nan`; `problems` explains that better than a type check
Codes = list[Any]
Texts = Sequence[tuple[str, str, str]]  # (language, dataset, text)
TO_THE_END_S = float("nan")  # a raw row's duration where only the audio file knows it

EMPTY_TEXT, TOO_LONG = "empty text", "longer than max_duration_s"
AS_LONG, TOO_SHORT = "as long as max_duration_s", "not longer than min_duration_s"
BEYOND_HOURS = "beyond max_train_hours"


class Usable(NamedTuple):
    """What can be used of a corpus.

    Attributes:
        manifest: its rows, with their durations filled in.
        looks: at its audio files (`mlsuperb.data.looks`), also at those that cannot be used.
        texts: of training utterances that are not trained on, but whose texts are of the vocabulary.
    """

    manifest: pd.DataFrame
    looks: pd.DataFrame = NO_LOOKS
    texts: Texts = ()


@dataclass(kw_only=True)
class Reader(ABC):
    """A reader of a corpus into rows of one kind; a dataclass of its settings. `prepare` makes a manifest of it."""

    record: ClassVar[type[Any]]  # what a row is
    group: ClassVar[str]  # where its settings stand, for messages: `data` (data.root=...) or `text`

    @abstractmethod
    def rows(self, skipped: SkipReport) -> Iterator[Any]:
        """Every wanted row, in a fixed order; what is skipped is counted in `skipped`. Paths are absolute; an utterance
        without a segment starts at 0 and lasts `TO_THE_END_S`.

        Raises:
            ValueError: a file of the corpus breaks its format.
        """

    def read(self, skipped: SkipReport, *, known: pd.DataFrame, splits: Collection[str] | None = None) -> Usable:
        """All that can be used of the corpus; what is skipped is counted in `skipped`.

        Args:
            known: earlier looks at audio files, which hold for those that have not changed.
            splits: of these alone; None: of all.

        Raises:
            ValueError: something needs the user's attention.
        """
        frame = to_frame(self.rows(skipped), self.record)
        frame = frame if splits is None else frame[frame["split"].isin(splits)]
        return self.usable(frame, skipped, known=known)

    @abstractmethod
    def usable(self, frame: pd.DataFrame, skipped: SkipReport, *, known: pd.DataFrame) -> Usable:
        """What can be used of these rows, which the index of `frame` numbers; otherwise as `read`."""

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
class Corpus(Reader):
    """A reader of speech and what to take from it.

    Args:
        languages: keep only these language codes.
        datasets: keep only these datasets.
        pairs: keep only these [language, dataset] pairs.
        max_train_hours: of each (language, dataset) pair, train on the first utterances in corpus order which together
            last no longer than this, so that a smaller set is always a part of a larger one.
        hours_seed: take them in an order that is drawn by this seed instead (`+data.hours_seed=0`): a corpus that is sorted by
            speaker would give few of them. A smaller set is a part of a larger one of the same seed.
        max_duration_s: train and dev utterances of this or more are dropped (ML-SUPERB: 20 s); test is never filtered.
        min_duration_s: train and dev utterances of no more than this are dropped (ESPnet's `asr.sh`: 0.1 s). Texts of such short
            ones, and of those of just `max_duration_s`, count for the vocabulary: ML-SUPERB's data preparation keeps them, and
            `asr.sh` drops them (stage 4) when it has listed the tokens.
        resample: convert files with another rate than 16 kHz when they are read; false makes such a file an error.
        extra_languages: codes outside ISO 639-3 to allow.
        on_bad: what to do about audio that is missing, unreadable or too short for its segment: count it, or stop.
        decode: decode compressed audio and floats when the corpus is prepared, once, so that damage behind a sound header is
            found then (`+data.decode=false`: the run that comes upon it stops). On one core an hour of FLAC or MP3 takes 2 s,
            of Vorbis 4 s, of Opus 13 s.
        text: `required` drops and counts utterances without a transcript; `optional` keeps them with an empty one (speech
            for pre-training), and then no file or column of transcripts is needed.
        preparation: what is done to the usable utterances before pre-training (`+data/preparation=mhubert_147`). Its limits
            stand in the place of `max_duration_s` and `min_duration_s`.
        phones: the source of phones that take the place of transcripts, for `task.units=phone` (`+data/phones=espeak`).
        few_shot: `all`; ML-SUPERB's readers have a choice. Here so that an experiment that names it takes any corpus.
    """

    record: ClassVar = Utterance
    group: ClassVar = "data"
    split_remedy: ClassVar[str] = ""  # goes on a message that a split is missing
    synthetic: ClassVar[bool] = False  # whether a machine speaks: such results never share a table with real ones

    languages: Codes | None = None
    datasets: list[str] | None = None
    pairs: list[Codes] | None = None
    max_train_hours: PositiveFloat | None = None
    hours_seed: NonNegativeInt | None = None
    max_duration_s: PositiveFloat = 20.0
    min_duration_s: NonNegativeFloat = 0.1
    resample: bool = True
    extra_languages: Codes = field(default_factory=list)
    on_bad: Literal["skip", "error"] = "skip"
    decode: bool = True
    text: Literal["required", "optional"] = "required"
    preparation: Preparation | None = None
    phones: PhoneSource | None = None
    few_shot: Literal["all"] = "all"

    def usable(self, frame: pd.DataFrame, skipped: SkipReport, *, known: pd.DataFrame) -> Usable:
        """What can be used of the rows of `frame`.

        Raises:
            ValueError: an id occurs twice in a split; a language is unknown; a rate is refused; audio is bad and `on_bad`
                is `error`; nothing is left of the corpus or of something that was asked for by name.
        """
        frame = self._restricted(frame)  # here no reader can forget it
        if frame.empty:  # the steps below need a row
            self._refuse_absent_names(frame, skipped)
        refuse_unknown_languages(frame, "language", extra=self.extra_languages, group=self.group)
        remedy = ", or leave one of the places out with data.languages or data.datasets"
        refuse_duplicates(frame, place=("dataset", "language"), remedy=remedy)
        frame = frame if self.phones is None else self.phones.apply(frame, skipped)
        if self.text == "required":
            frame = skipped.drop(frame, frame["text"].str.strip() == "", EMPTY_TEXT)
        frame, looks = self._with_durations(frame, skipped, known=known)
        frame, texts = (frame, ()) if self.preparation else self._within_limits(frame, skipped)
        if self.max_train_hours is not None:
            beyond = beyond_hours(frame, max_hours=self.max_train_hours, seed=self.hours_seed)
            frame = skipped.drop(frame, frame.index.isin(beyond), BEYOND_HOURS)
        return Usable(self._prepared(frame, skipped), looks, texts)

    def _within_limits(self, frame: pd.DataFrame, skipped: SkipReport) -> tuple[pd.DataFrame, Texts]:
        """The rows of a length that is trained on, and those of the other splits; `Usable.texts`."""
        duration_s, filtered = frame["duration_s"], frame["split"].isin(FILTERED_SPLITS)
        at_limits = {AS_LONG: duration_s == self.max_duration_s, TOO_SHORT: duration_s <= self.min_duration_s}
        counts = self.text == "required" and self.max_train_hours is None  # else the hours are not drawn yet
        unused = frame[(at_limits[AS_LONG] | at_limits[TOO_SHORT]) & (frame["split"] == "train") & counts]
        for reason, mask in ({TOO_LONG: duration_s > self.max_duration_s} | at_limits).items():
            frame = skipped.drop(frame, (filtered & mask)[frame.index], reason)
        return frame, list(unused[["language", "dataset", "text"]].itertuples(index=False, name=None))

    def _with_durations(
        self, frame: pd.DataFrame, skipped: SkipReport, *, known: pd.DataFrame
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The rows whose audio can be used, with their durations filled in, and the looks at all files."""
        return with_durations(
            frame, skipped, known=known, resample=self.resample, refuse_bad=self.on_bad == "error", decode=self.decode
        )

    def _prepared(self, frame: pd.DataFrame, skipped: SkipReport) -> pd.DataFrame:
        """The rows after the preparation, if there is one.

        Raises:
            ValueError: nothing is left of the corpus or of something that was asked for by name.
        """
        self._refuse_absent_names(frame, skipped)
        if self.preparation is not None:
            frame = self.preparation.apply(frame, skipped)
            self._refuse_absent_names(frame, skipped)
        return frame.reset_index(drop=True)

    def _restricted(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows that `wants` lets through."""
        pairs = list(zip(frame["language"], frame["dataset"], strict=True))
        wanted = {pair for pair in set(pairs) if self.wants(*pair)}
        return frame[np.array([pair in wanted for pair in pairs], dtype=bool)]

    def _refuse_absent_names(self, frame: pd.DataFrame, skipped: SkipReport) -> None:
        """Whatever was asked for by name must be there. Of the pairs, those that the languages and datasets let through."""
        pairs = [tuple(pair) for pair in self.pairs or [] if self.wants(*pair)]
        absent = []
        for setting, asked, found in (
            ("languages", self.languages, set(frame["language"])),
            ("datasets", self.datasets, set(frame["dataset"])),
            ("pairs", pairs, set(zip(frame["language"], frame["dataset"], strict=True))),
        ):
            if missing := [str(name) for name in asked or [] if name not in found]:
                absent.append(f"data.{setting}={some(missing)}")
        if absent or frame.empty:
            raise ValueError(
                f"nothing can be used of {'; '.join(absent) or 'any of its utterances'}. The corpus has {self._contents()}. "
                f"Of what was asked for: {skipped}. Correct the setting{self.phones.remedy if self.phones else ''}, or get the "
                "corpus whole (data/README.md)."
            )

    def _contents(self) -> str:
        """The datasets and languages of the whole corpus; only an error message needs this second look."""
        everything = replace(self, languages=None, datasets=None, pairs=None)
        pairs = {(row.dataset, row.language) for row in everything.rows(SkipReport())}
        datasets = sorted({dataset for dataset, _ in pairs})
        return f"the datasets {', '.join(datasets)} and the languages {', '.join(sorted({code for _, code in pairs}))}"

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
        names = ("max_train_hours", "max_duration_s", "min_duration_s", "text", "preparation", "phones")
        given = {name: getattr(self, name) for name in names}
        return [f"data.{name}={value}" for name, value in given.items() if value != getattr(Corpus, name)]

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        extra = settings.get("extra_languages") or ()
        pairs = settings.get("pairs") or []
        found = extra_problems(extra, group="data")
        found += language_problems(settings.get("languages") or (), setting="data.languages", extra=extra)
        bad_pairs = [pair for pair in pairs if len(pair) != 2]
        found += [f"data.pairs: {pair!r} is not a [language, dataset] pair." for pair in bad_pairs]
        found += [] if bad_pairs else language_problems([pair[0] for pair in pairs], setting="data.pairs", extra=extra)
        if settings.get("hours_seed") is not None and settings.get("max_train_hours") is None:
            found.append("data.hours_seed draws what data.max_train_hours takes, which is not set. Set both, or none.")
        found += [] if settings.get("preparation") is None else cls.unread_limits(settings)
        if settings.get("language") is not None:  # a reader's setting: of all its rows
            found += language_problems([settings["language"]], setting="data.language", extra=extra)
        return found

    @classmethod
    def unread_limits(cls, settings: Mapping[str, Any]) -> list[str]:
        """A sentence for each limit of length that was changed although a preparation has its own."""
        return [
            f"data.{name}={settings[name]} is not looked at where there is a data.preparation, which has limits of its own. Set "
            f"{other} there instead."
            for name, other in (("max_duration_s", "max_s"), ("min_duration_s", "min_s"))
            if settings.get(name, getattr(cls, name)) != getattr(cls, name)
        ]


def folder_problems(path: str | None, *, setting: str, remedy: str) -> list[str]:
    """Why `path` cannot be used as a folder: one sentence, or none."""
    if path is not None and Path(path).is_dir():
        return []
    return [f"{setting}={path}: there is no such folder. {remedy}"]
