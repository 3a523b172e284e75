"""What every corpus reader offers: rows in a fixed order, and the settings which all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from mlsuperb.data.languages import language_problems

if TYPE_CHECKING:
    from mlsuperb.data.manifest import SkipReport
    from mlsuperb.types import Utterance

# YAML makes a truth value of `no` and a number of `nan`; `problems` explains that better than a type check
Codes = list[Any]
TO_THE_END_S = float("nan")  # a raw row's duration where only the audio file knows it


@dataclass(kw_only=True)
class Corpus(ABC):
    """A reader and what to take from it.

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
    """

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

    @abstractmethod
    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        """Every wanted utterance, in a fixed order; what is passed over is counted in `skipped`.

        A row without a segment starts at 0 and lasts `TO_THE_END_S`; paths are absolute.

        Raises:
            ValueError: a file of the corpus breaks its format.
        """

    @abstractmethod
    def sources(self) -> list[Path]:
        """The files and folders whose change (size, time) makes a stored manifest stale."""

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
        as_published = {
            "max_train_hours": None,
            "max_duration_s": Corpus.max_duration_s,
            "min_duration_s": Corpus.min_duration_s,
        }
        given = {name: getattr(self, name) for name in as_published}
        return [f"data.{name}={value}" for name, value in given.items() if value != as_published[name]]

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        """What is wrong with the settings, found without reading the corpus: a full sentence each."""
        extra = settings.get("extra_languages") or ()
        pairs = settings.get("pairs") or []
        found = language_problems(settings.get("languages") or (), setting="data.languages", extra=extra)
        bad_pairs = [pair for pair in pairs if len(pair) != 2]
        found += [f"data.pairs: {pair!r} is not a [language, dataset] pair." for pair in bad_pairs]
        if not bad_pairs:
            found += language_problems([pair[0] for pair in pairs], setting="data.pairs", extra=extra)
        return found


def folder_problems(path: str | None, *, setting: str, remedy: str) -> list[str]:
    """A sentence if `path` is no folder."""
    if path is not None and Path(path).is_dir():
        return []
    return [f"{setting}={path}: there is no such folder. {remedy}"]
