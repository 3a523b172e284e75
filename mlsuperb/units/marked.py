"""Utterances that have both labels and phones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlsuperb.runtime.messages import some
from mlsuperb.units.abx import AbxError, abx, tokens
from mlsuperb.units.labels import LABELS, Labels
from mlsuperb.units.phones import Interval, Phones
from mlsuperb.units.quality import Quality, measure


@dataclass(frozen=True, kw_only=True, eq=False)
class Marked:
    """The units and phones of utterances, in the order of the manifest.

    Args:
        ids, languages, speakers, splits: of each utterance.
        units: (F,) of each.
        phones: of each.
        rate_hz: units per second.
        num_units: of the codebook.
        num_without_phones: how many utterances with labels were left out because they have no phones.
    """

    ids: Sequence[str]
    languages: Sequence[str]
    speakers: Sequence[str]
    splits: Sequence[str]
    units: Sequence[np.ndarray]
    phones: Sequence[Sequence[Interval]]
    rate_hz: float
    num_units: int
    num_without_phones: int = 0

    def by_language(self) -> Iterator[tuple[str, Marked]]:
        """(language, its utterances), in alphabetical order."""
        for language in sorted(set(self.languages)):
            rows = [row for row, one in enumerate(self.languages) if one == language]
            yield (
                language,
                Marked(
                    ids=[self.ids[row] for row in rows],
                    languages=[language] * len(rows),
                    speakers=[self.speakers[row] for row in rows],
                    splits=[self.splits[row] for row in rows],
                    units=[self.units[row] for row in rows],
                    phones=[self.phones[row] for row in rows],
                    rate_hz=self.rate_hz,
                    num_units=self.num_units,
                ),
            )

    def quality(self, *, one_to_one: bool = False) -> Quality:
        """The units of all utterances against their phones; see `measure`."""
        return measure(self.units, self.phones, rate_hz=self.rate_hz, num_units=self.num_units, one_to_one=one_to_one)

    def abx(self, *, seed: int = 0) -> tuple[AbxError, AbxError]:
        """ABX of the units within and across speaker."""
        given = tokens(self.units, self.phones, speakers=self.speakers, rate_hz=self.rate_hz)
        within, across = (abx(given, speakers=kind, distance="identical", seed=seed) for kind in ("within", "across"))
        return within, across


def marked(folder: Path, phones: Phones) -> Marked:
    """The utterances of a folder of labels that have phones.

    Args:
        folder: of a run of job=labels, or its `labels` folder.

    Raises:
        ValueError: there are no labels, or none of the utterances has phones.
    """
    labels = Labels(labels_folder(folder))
    manifest = labels.columns("id", "language", "speaker", "split")
    rows = with_phones(list(manifest["id"]), phones, place=str(folder))
    chosen = manifest.iloc[rows]
    return Marked(
        ids=list(chosen["id"]),
        languages=list(chosen["language"]),
        speakers=list(chosen["speaker"]),
        splits=list(chosen["split"]),
        units=[labels[row] for row in rows],
        phones=[phones[name] for name in chosen["id"]],
        rate_hz=labels.rate_hz,
        num_units=labels.about.num_units,
        num_without_phones=len(manifest) - len(rows),
    )


def labels_folder(folder: Path) -> Path:
    """The folder of labels of a run, or the folder itself."""
    return folder / LABELS if (folder / LABELS).is_dir() else folder


def with_phones(ids: Sequence[str], phones: Collection[str], *, place: str) -> list[int]:
    """The places in `ids` of the utterances that have phones. `place`: where the ids are from, for the error.

    Raises:
        ValueError: there is none.
    """
    known = set(phones)
    if rows := [row for row, name in enumerate(ids) if name in known]:
        return rows
    raise ValueError(
        f"no utterance of {place} has phones: its ids are like {some(ids, at_most=3) or '(none)'}, and those of the phones like "
        f"{some(sorted(known), at_most=3) or '(none)'}: give the phones of this corpus, under the ids of its manifest"
    )
