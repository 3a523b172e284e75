"""Several corpora as one."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from mlsuperb.data.corpora.base import Codes, Corpus, Usable
from mlsuperb.data.languages import extra_problems
from mlsuperb.data.phones.source import PhoneSource
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

Split = Literal["train", "dev", "test", "dev_dialect"]


@dataclass(kw_only=True)
class Several(Corpus):
    """The utterances of several corpora in one manifest. Each part has its own settings, filters and skip report; those of
    `Corpus` that a part has already applied cannot be given for the whole. An id that occurs in more than one part is prefixed
    with the part's name (`books/utt_1`) in all of them. Where a part keeps utterances without a transcript (`text: optional`),
    the whole has such rows, too, and its `text` is `optional`.

    Args:
        corpora: readers by the names of the parts.
        splits: by the name of a part, the splits that are taken of it, such as `{speech: [train]}`; of a part that is not
            named here all are taken.

    Raises:
        ValueError: where a part raises one; the message names the part.
    """

    corpora: Mapping[str, Corpus]
    splits: Mapping[str, list[Split]] | None = None
    # what each part has settled for itself
    max_train_hours: PositiveFloat | None = field(default=None, init=False)
    hours_seed: NonNegativeInt | None = field(default=None, init=False)
    max_duration_s: PositiveFloat = field(default=20.0, init=False)
    min_duration_s: NonNegativeFloat = field(default=0.1, init=False)
    resample: bool = field(default=True, init=False)  # a part without it has refused other rates already
    extra_languages: Codes = field(default_factory=list, init=False)
    on_bad: Literal["skip", "error"] = field(default="skip", init=False)
    decode: bool = field(default=True, init=False)
    text: Literal["required", "optional"] = field(default="required", init=False)
    phones: PhoneSource | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if any(part.text == "optional" for part in self.corpora.values()):
            self.text = "optional"

    @property
    def synthetic(self) -> bool:  # type: ignore[override]  # of the other readers it is known from the class
        """Whether any part is spoken by a machine."""
        return any(part.synthetic for part in self.corpora.values())

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        corpora = settings.get("corpora") or {}
        codes = [code for part in corpora.values() for code in _setting(part, "extra_languages") or ()]
        sound = [code for code in codes if not extra_problems([code], group=cls.group)]  # the parts tell of the others
        found = super().problems(**{**settings, "extra_languages": sound})
        if not corpora:
            found.append(
                "data.corpora is empty. Add a reader for each part, such as +data@data.corpora.books=audio_tree with "
                "data.corpora.books.root=FOLDER."
            )
        if unknown := [str(name) for name in settings.get("splits") or () if name not in corpora]:
            found.append(f"data.splits: there is no part {', '.join(unknown)}; parts are {', '.join(corpora)}.")
        for name, part in corpora.items():
            if isinstance(part, Corpus):  # otherwise it is a node of a configuration, which is checked before this one
                given = {one.name: getattr(part, one.name) for one in fields(part)}
                own = part.problems(**given) + (part.unread_limits(given) if settings.get("preparation") else [])
                found += [f"data.corpora.{name}: {problem}" for problem in own]
        return found

    def stand_ins(self) -> dict[str, tuple[str, str]]:
        return {asked: other for part in self.corpora.values() for asked, other in part.stand_ins().items()}

    def evaluation_splits(self) -> tuple[str, ...]:
        """Those of all parts."""
        return tuple(dict.fromkeys(split for part in self.corpora.values() for split in part.evaluation_splits()))

    def sources(self) -> list[Path]:
        return [path for _, part in self._parts() for path in part.sources()]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for _, part in self._parts():
            yield from part.rows(skipped)

    def read(self, skipped: SkipReport, *, known: pd.DataFrame, splits: Collection[str] | None = None) -> Usable:
        found: dict[str, Usable] = {}
        for name, part in self._parts():
            own = SkipReport()
            chosen = [set(one) for one in ((self.splits or {}).get(name), splits) if one is not None]
            if self.preparation is not None:
                part = replace(part, max_duration_s=math.inf, min_duration_s=0.0)
            try:
                with _errors_named(name):
                    found[name] = part.read(own, known=known, splits=set.intersection(*chosen) if chosen else None)
            finally:
                skipped.include(own, part=name)
        ids = pd.concat([one.manifest["id"].drop_duplicates() for one in found.values()])
        shared = set(ids[ids.duplicated()])
        frames = []
        for name, one in found.items():
            given = one.manifest["id"]
            frames.append(one.manifest.assign(id=given.mask(given.isin(shared), f"{name}/" + given)))
        frame = self._prepared(self._restricted(pd.concat(frames, ignore_index=True)), skipped)
        looks = pd.concat([one.looks for one in found.values()])
        texts = [text for one in found.values() for text in one.texts if self.wants(*text[:2])]
        return Usable(frame, looks[~looks.index.duplicated()], texts)

    def _parts(self) -> list[tuple[str, Corpus]]:
        """By name: the order in a configuration does not count for a run's identity."""
        return sorted(self.corpora.items())


def _setting(part: Corpus | Mapping[str, Any], name: str) -> Any:
    """A setting of a reader, or of the node of a configuration that describes one."""
    return part.get(name) if isinstance(part, Mapping) else getattr(part, name)


@contextmanager
def _errors_named(part: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"data.corpora.{part}: {error}") from error
