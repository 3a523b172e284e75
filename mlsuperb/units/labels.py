"""Labels of speech on disk: a manifest, and beside it a number for each frame of each of its rows, mapped into memory.

<folder>/manifest.parquet        the utterances that are labelled, in the order of the labels
<folder>/labels.json             codebook, rate, number of units, rows in a shard
<folder>/codebook.safetensors    what the labels were made with
<folder>/units-00000.npy         uint16: the labels of the rows of shard 0, one row after the other
<folder>/lengths-00000.npy       int32: how many labels each of these rows has

A shard is written whole or not at all, so whoever labels goes on where an earlier process stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlsuperb.data.manifest import read_columns, read_manifest, read_split, write_manifest
from mlsuperb.runtime.files import disk_errors_named, replaced, write_json
from mlsuperb.runtime.records import from_json

LABELS = "labels"  # the folder in that of a run
ABOUT_FILE, MANIFEST_FILE = "labels.json", "manifest.parquet"
TOLERANCE_S = 0.1  # between labels and audio (fairseq's HubertDataset: `label_rates`, `verify_label_lengths`)


@dataclass(frozen=True, kw_only=True)
class About:
    """What the labels of a folder are.

    Args:
        codebook: sha256 of the codebook.
        rate_hz: labels per second.
        num_units: they are from 0 to `num_units` - 1.
        num_rows: rows of the manifest.
        rows_per_shard: rows in each shard but the last.
    """

    codebook: str
    rate_hz: float
    num_units: int
    num_rows: int
    rows_per_shard: int

    @property
    def num_shards(self) -> int:
        """How many shards hold them."""
        return -(-self.num_rows // self.rows_per_shard)


class LabelFolder:
    """A folder that is being filled with labels, by one process or by several, each for other shards."""

    def __init__(self, folder: Path, about: About) -> None:
        self.folder, self.about = folder, about

    def begin(self, manifest: pd.DataFrame) -> None:
        """Write the manifest and what the labels are; to be called by one process, then by the others. A folder that was begun
        before goes on with as many rows in a shard as it has.

        Raises:
            ValueError: the folder holds labels of another codebook, or of other rows.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / ABOUT_FILE
        if not path.is_file():
            write_manifest(manifest, self.folder / MANIFEST_FILE)
            write_json(path, asdict(self.about))
        there, here = _about(self.folder), self.about
        self.about = replace(here, rows_per_shard=there.rows_per_shard)
        if there != self.about:
            other = [
                f"{name} {value} there, {getattr(here, name)} here"
                for name, value in asdict(there).items()
                if value != getattr(self.about, name)
            ]
            raise ValueError(
                f"{self.folder} holds labels of another codebook or of other speech ({'; '.join(other)}); remove the folder, or "
                "give another run_name"
            )

    def missing(self) -> list[int]:
        """Numbers of the shards that are not there yet."""
        return [number for number in range(self.about.num_shards) if not _units(self.folder, number).is_file()]

    def rows(self, shard: int) -> range:
        """The rows of a shard."""
        first = shard * self.about.rows_per_shard
        return range(first, min(first + self.about.rows_per_shard, self.about.num_rows))

    def write(self, shard: int, labels: Iterable[np.ndarray]) -> None:
        """Write the labels (F,) of the rows of a shard, in their order.

        Raises:
            OSError: the disk is full.
        """
        listed = [np.asarray(one, np.uint16) for one in labels]
        assert len(listed) == len(self.rows(shard)), "an array of labels for each row"
        lengths = np.array([len(one) for one in listed], np.int32)
        # the units last: where they are, the shard is whole
        for path, array in (
            (_lengths(self.folder, shard), lengths),
            (_units(self.folder, shard), np.concatenate(listed)),
        ):
            with disk_errors_named(path), replaced(path) as temporary, temporary.open("wb") as file:
                np.save(file, array)


class Labels:
    """The labels of a folder, each read from the disk when it is asked for.

    Args:
        folder: what a `LabelFolder` filled.
        check: compare the number of labels of every row with its audio.

    Raises:
        ValueError: shards are missing or damaged, or labels and audio differ by more than 0.1 s.
    """

    def __init__(self, folder: Path, *, check: bool = True) -> None:
        self.folder, self.about = folder, _about(folder)
        if absent := LabelFolder(folder, self.about).missing():
            raise ValueError(
                f"{folder} lacks {len(absent)} of {self.about.num_shards} shards of labels (units-{absent[0]:05d}.npy, ...). "
                "Give the command that made it again: it goes on where it stopped"
            )
        parts = [np.load(_lengths(folder, shard)) for shard in range(self.about.num_shards)]
        self.lengths_N = np.concatenate([np.zeros(0, np.int32), *parts])
        self._starts_N = np.concatenate(
            [np.cumsum(part, dtype=np.int64) - part for part in parts] or [np.zeros(0, int)]
        )
        if check:
            self._check_shards(parts)
            self._check_audio()

    @property
    def rate_hz(self) -> float:
        """Labels per second."""
        return self.about.rate_hz

    @property
    def manifest(self) -> pd.DataFrame:
        """The rows that are labelled, in the order of the labels; read and checked each time it is asked for."""
        return read_manifest(self.folder / MANIFEST_FILE)

    def rows(self, split: str) -> pd.DataFrame:
        """The rows of a split, with their numbers in the manifest as the index."""
        return read_split(self.folder / MANIFEST_FILE, split)

    def columns(self, *names: str) -> pd.DataFrame:
        """Some columns of the manifest: the others are not read."""
        return read_columns([self.folder / MANIFEST_FILE], names)

    def record(self) -> dict[str, Any]:
        """What is pinned to a training, so that it does not go on with other labels."""
        num_frames = int(self.lengths_N.sum(dtype=np.int64))
        return {"codebook": self.about.codebook, "num_rows": len(self), "num_frames": num_frames}

    def __len__(self) -> int:
        return len(self.lengths_N)

    def __getitem__(self, row: int) -> np.ndarray:
        """The labels (F,) uint16 of a row; not to be written to."""
        start = self._starts_N[row]
        part: np.ndarray = _mapped(_units(self.folder, row // self.about.rows_per_shard))[
            start : start + self.lengths_N[row]
        ]
        return part

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.__getitem__, range(len(self)))

    def _check_shards(self, lengths: list[np.ndarray]) -> None:
        for shard, part in enumerate(lengths):
            path = _units(self.folder, shard)
            num, wanted = len(_mapped(path)), int(part.sum(dtype=np.int64))
            if num != wanted:
                raise ValueError(
                    f"{path} holds {num:,} labels, and its rows need {wanted:,}: it is damaged. Remove the file and give the "
                    "command that made it again"
                )

    def _check_audio(self) -> None:
        off_N = self.lengths_N / self.rate_hz - self.columns("duration_s")["duration_s"].to_numpy()
        if (bad := np.flatnonzero(np.abs(off_N) > TOLERANCE_S)).size:
            row = self.columns("id", "duration_s").iloc[bad[0]]
            raise ValueError(
                f"{row['id']} has {self.lengths_N[bad[0]]} labels at {self.rate_hz:g} Hz for {row['duration_s']:.2f} s of audio "
                f"({bad.size} such rows in {self.folder}). The audio or the labels have changed since: label it anew"
            )


def few_of_each(rows: pd.DataFrame, num: int) -> pd.DataFrame:
    """At most `num` rows of each (dataset, language), by chance, to validate on: mHuBERT-147's `create_valid_set.py` and its
    seed."""
    shuffled = rows.sample(frac=1, random_state=10)
    return shuffled.groupby(["dataset", "language"]).head(num).sort_index()


def _about(folder: Path) -> About:
    path = folder / ABOUT_FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no labels ({ABOUT_FILE}). Give the folder of a finished run of job=labels")
    return from_json(About, path, remedy="Restore a copy, or label the speech anew")


def _units(folder: Path, shard: int) -> Path:
    return folder / f"units-{shard:05d}.npy"


def _lengths(folder: Path, shard: int) -> Path:
    return folder / f"lengths-{shard:05d}.npy"


@lru_cache(maxsize=4096)
def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r") if path.stat().st_size > 128 else np.load(path)
