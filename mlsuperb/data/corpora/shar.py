"""Speech in shards of lhotse's Shar format:

<root>/train/cuts.000000.jsonl.gz     the utterances of a shard; likewise in <root>/dev and <root>/test
<root>/train/recording.000000.tar     their audio

Of shards that `mlsuperb data shard` wrote, the index is read; of others, the cuts and the headers in the archives. Durations are
those of the cuts: no audio is opened, but every archive has to be as long as the places in it say.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import NonNegativeFloat, PositiveFloat

from mlsuperb.data.arrow import text_array
from mlsuperb.data.audio_file import DAMAGED_SHARD, MEMBER
from mlsuperb.data.checks import MISSING_AUDIO, some
from mlsuperb.data.corpora.base import Corpus, folder_problems
from mlsuperb.data.looks import NO_LOOKS
from mlsuperb.data.manifest import SPLITS, each_record
from mlsuperb.data.shards import ABOUT_FILE, is_folder_of_shards, read_cuts, read_index
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance


@dataclass(kw_only=True)
class Shar(Corpus):
    """Reader of shards. They hold what was chosen when they were written, so that by default nothing is filtered.

    Args:
        root: the folder that holds `train`, `dev` or `test`.
        language: of cuts whose supervisions name none; null: such a cut is an error.
        dataset: of cuts that name none (`custom.dataset`).
    """

    root: str
    language: str | None = None
    dataset: str = "shar"
    max_duration_s: PositiveFloat = 100_000.0
    min_duration_s: NonNegativeFloat = 0.0
    text: Literal["required", "optional"] = "optional"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found, root = super().problems(**settings), settings.get("root")
        remedy = f"Give the folder of shards, which holds {', '.join(SPLITS[:3])}/cuts.000000.jsonl.gz."
        if bad_root := folder_problems(root, setting="data.root", remedy=remedy):
            return found + bad_root
        if not (is_folder_of_shards(Path(str(root))) or any(cls._cuts(str(root)))):
            found.append(f"data.root={root} holds no shards. {remedy}")
        return found

    @staticmethod
    def _cuts(root: str) -> Iterator[tuple[str, Path]]:
        """(split, file of cuts) of each shard."""
        for split in SPLITS:
            yield from ((split, path) for path in sorted(Path(root, split).glob("cuts*.jsonl*")))

    def sources(self) -> list[Path]:
        """The folders, whose times change with the files in them, and the files of cuts, of audio and of the index, which may
        change in place."""
        named = [Path(self.root, name) for name in (ABOUT_FILE, "index", *SPLITS)]
        archives = [path for split in SPLITS for path in sorted(Path(self.root, split).glob("recording*.tar"))]
        index = sorted(Path(self.root, "index").glob("*.parquet"))
        return [*named, *(path for _, path in self._cuts(self.root)), *archives, *index]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        if not is_folder_of_shards(Path(self.root)):
            for split, cuts in self._cuts(self.root):
                yield from read_cuts(cuts, split=split, language=self.language, dataset=self.dataset)
            return
        yield from each_record(read_index(Path(self.root)), Utterance)

    def _with_durations(
        self, frame: pd.DataFrame, skipped: SkipReport, *, known: pd.DataFrame
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The rows with audio, as they are, without a look at it.

        Raises:
            ValueError: an archive is missing or cut short, or a cut has no audio and `on_bad` is `error`.
        """
        silent = frame["audio"] == ""
        if self.on_bad == "error" and silent.any():
            raise ValueError(
                f"{int(silent.sum())} cuts of {self.root} have no audio: {some(frame['id'][silent])}. Take them out, or set "
                "data.on_bad=skip to count them and go on"
            )
        frame = skipped.drop(frame, silent, MISSING_AUDIO)
        places = pc.extract_regex(text_array(frame["audio"]), MEMBER)
        last, size = (pc.cast(pc.struct_field(places, name), pa.int64()).to_numpy() for name in ("offset", "size"))
        ends = pd.Series(last + size).groupby(pc.struct_field(places, "archive").to_numpy(zero_copy_only=False)).max()
        for archive, end in zip(map(str, ends.index), ends, strict=True):
            length = os.path.getsize(archive) if os.path.isfile(archive) else -1
            if length < end:
                what = "is missing" if length < 0 else f"has {length:,} bytes, but at least {end:,} belong to it"
                raise ValueError(f"{archive} {what}. {DAMAGED_SHARD}")
        return frame, NO_LOOKS
