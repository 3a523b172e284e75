"""The size of a corpus by a sample: what `mlsuperb data new` says of data that nobody has prepared yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from mlsuperb.data.audio_file import AudioError, audio_info
from mlsuperb.data.corpora.base import Corpus
from mlsuperb.data.corpora.hf import HubData
from mlsuperb.data.corpora.hub_columns import first_rows, rows_in
from mlsuperb.data.manifest import SPLITS
from mlsuperb.data.skips import SkipReport

NUM_ROWS = 100_000  # that are counted
NUM_OPENED = 20  # files of a split


class _Row(NamedTuple):
    """The split and language of some rows, and the audio or the seconds of one; a file that is looked at for all of them stands
    for `num_rows`."""

    split: str
    language: str
    audio: str
    seconds: float
    num_rows: int = 1


@dataclass
class SplitSample:
    """What is known of a split: rows (`is_all`: there are no more), languages, mean length of the files that were opened, and
    what was wrong with one that could not be."""

    num_rows: int = 0
    languages: list[str] = field(default_factory=list)
    num_opened: int = 0
    opened_s: float = 0.0
    fault: str = ""
    is_all: bool = True

    @property
    def hours(self) -> float:
        """Of all rows, if they are as long as those that were opened."""
        return self.num_rows * self.opened_s / max(1, self.num_opened) / 3600

    def add(self, row: _Row) -> None:
        self.num_rows += row.num_rows
        if row.language not in self.languages:
            self.languages.append(row.language)
        seconds = row.seconds
        if math.isnan(seconds) and row.audio and self.num_opened < NUM_OPENED:
            try:
                seconds = audio_info(row.audio).duration_s
            except AudioError as error:
                self.fault = str(error)
        if not math.isnan(seconds):
            self.num_opened, self.opened_s = self.num_opened + 1, self.opened_s + seconds


def sample_of(corpus: Corpus) -> dict[str, SplitSample]:
    """What a look at its first rows shows of a corpus, by split; no audio is written.

    Raises:
        ValueError: it cannot be read, or has no rows.
    """
    if isinstance(corpus, HubData):
        return _collect(_hub_rows(corpus), is_all=True)
    rows = list(islice(corpus.rows(SkipReport()), NUM_ROWS + 1))
    is_all = len(rows) <= NUM_ROWS
    return _collect(
        (_Row(row.split, row.language, row.audio, row.duration_s) for row in rows[:NUM_ROWS]), is_all=is_all
    )


def _collect(rows: Iterable[_Row], *, is_all: bool) -> dict[str, SplitSample]:
    found: dict[str, SplitSample] = {}
    for row in rows:
        found.setdefault(row.split, SplitSample(is_all=is_all)).add(row)
    if not found:
        raise ValueError("there is not a single utterance in it")
    return {split: found[split] for split in sorted(found, key=SPLITS.index)}


def _hub_rows(corpus: HubData) -> Iterator[_Row]:
    """The first rows of each split and configuration, the last of which stands for all others."""
    root, parts = corpus.parts()
    for split, _, files in parts:
        if not files:
            continue
        shown = first_rows(root / files[0].path, corpus.columns_of(root, files[0]), NUM_OPENED)
        others = sum(rows_in(root / file.path) for file in files) - len(shown)
        for place, (label, audio, seconds) in enumerate(shown, 1):
            yield _Row(split, corpus.code(label), audio, seconds, 1 + (others if place == len(shown) else 0))
