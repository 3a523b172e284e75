"""Units of utterances without repetitions, in files that other programs read (vocoders, unit language models).

<folder>/about.json     codebook (sha256), rate, number of units, the features that the codebook was fitted on, run
<folder>/units.jsonl    one utterance per line, in the manifest's order: id, language, dataset, split, speaker, units, durations
<folder>/units.tsv      by choice: id, tab, units separated by spaces, as textless tools read them

Letters: F frames, R runs of equal units, K units of the codebook.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlsuperb.runtime.files import disk_errors_named, whole_folder, write_json
from mlsuperb.runtime.lines import read_lines
from mlsuperb.runtime.messages import some
from mlsuperb.runtime.records import from_json, load_json
from mlsuperb.units.codebook import Codebook
from mlsuperb.units.labels import MANIFEST_FILE, Labels
from mlsuperb.units.usage import bitrate, run_starts

ABOUT_FILE, UNITS_FILE, TSV_FILE = "about.json", "units.jsonl", "units.tsv"
_COLUMNS = ("id", "language", "dataset", "split", "speaker")
_PIECE = 2**16  # rows of the manifest that are in memory at a time


@dataclass(frozen=True, kw_only=True)
class UnitsAbout:
    """What the units of a folder are.

    Args:
        codebook: sha256 of the codebook.
        rate_hz: frames per second; durations are counted in frames.
        num_units: units are from 0 to `num_units` - 1.
        features: upstream and layer that the codebook was fitted on, as its own record says.
        run_id: of the run of job=labels.
    """

    codebook: str
    rate_hz: float
    num_units: int
    features: dict[str, Any]
    run_id: str


class UnitUtterance(NamedTuple):
    """An utterance in units: unit `units[i]` lasts `durations[i]` frames and differs from its neighbours."""

    id: str
    language: str
    dataset: str
    split: str
    speaker: str | None
    units: list[int]
    durations: list[int]


@dataclass
class UnitStatistics:
    """What was extracted, counted utterance by utterance."""

    rate_hz: float
    runs_K: np.ndarray = field(repr=False)
    num_utterances: int = 0
    num_frames: int = 0

    def add(self, one: UnitUtterance) -> None:
        """Count an utterance."""
        self.num_utterances += 1
        self.num_frames += sum(one.durations)
        np.add.at(self.runs_K, one.units, 1)

    @property
    def seconds(self) -> float:
        """Duration of all."""
        return self.num_frames / self.rate_hz

    def __str__(self) -> str:
        per_second = self.runs_K.sum() / self.seconds if self.num_frames else 0.0
        bits = bitrate(self.runs_K, seconds=self.seconds) if self.num_frames else 0.0
        return (
            f"{self.num_utterances:,} utterances, {self.seconds / 3600:,.2f} h, {int((self.runs_K > 0).sum())} of "
            f"{len(self.runs_K)} units in use; units per second: {self.rate_hz:.1f}, {per_second:.1f} without repetitions; "
            f"{bits:.0f} bit/s"
        )


def extract(
    labels_folder: Path,
    out: Path,
    *,
    run_id: str,
    splits: Collection[str] = (),
    languages: Collection[str] = (),
    tsv: bool = False,
) -> UnitStatistics:
    """Write the units of a run's labels into a folder, whole or not at all; what an earlier call wrote there is replaced.
    Utterances are read and written one after the other.

    Args:
        labels_folder: `labels` in the folder of a run of job=labels.
        splits, languages: those wanted; empty: all that there are.
        tsv: write `units.tsv`, too.

    Raises:
        ValueError: labels are missing or damaged, or made with another codebook than lies beside them; there is no utterance of
            a split or language that is wanted; `out` holds something else.
        OSError: the disk is full.
    """
    labels = Labels(labels_folder)
    about = _about(labels, run_id=run_id)
    _check_wanted(labels_folder, splits, languages)
    _check_place(out)
    found = UnitStatistics(rate_hz=about.rate_hz, runs_K=np.zeros(about.num_units, np.int64))
    with disk_errors_named(out), whole_folder(out) as unfinished, ExitStack() as files:
        write_json(unfinished / ABOUT_FILE, asdict(about))
        lines = files.enter_context((unfinished / UNITS_FILE).open("w", encoding="utf-8"))
        table = files.enter_context((unfinished / TSV_FILE).open("w", encoding="utf-8")) if tsv else None
        for one in _utterances(labels, splits, languages):
            found.add(one)
            lines.write(json.dumps(one._asdict(), ensure_ascii=False) + "\n")
            if table:
                table.write(f"{one.id}\t{' '.join(map(str, one.units))}\n")
    return found


def _about(labels: Labels, *, run_id: str) -> UnitsAbout:
    book = Codebook.load(labels.folder)
    if book.sha256 != labels.about.codebook:
        raise ValueError(
            f"the codebook in {labels.folder} ({book.sha256[:12]}) is not the one that its labels were made with "
            f"({labels.about.codebook[:12]}). Restore it, or label the speech anew"
        )
    features = dict(book.record.get("features", {}))
    return UnitsAbout(
        codebook=book.sha256, rate_hz=book.rate_hz, num_units=book.num_units, features=features, run_id=run_id
    )


def read_units(folder: Path) -> tuple[UnitsAbout, Iterator[UnitUtterance]]:
    """What `extract` wrote: what the units are, and the utterances, each read when it is asked for.

    Raises:
        ValueError: the folder holds no units; while the utterances are read: a line is damaged.
    """
    for name in (ABOUT_FILE, UNITS_FILE):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} holds no units ({name} is missing). Write them: mlsuperb units extract RUN --out DIR"
            )
    about = from_json(UnitsAbout, folder / ABOUT_FILE, remedy="Extract them again: mlsuperb units extract")
    return about, _read_lines(folder / UNITS_FILE, num_units=about.num_units)


def _read_lines(path: Path, *, num_units: int) -> Iterator[UnitUtterance]:
    for number, line in read_lines(path):
        try:
            one = UnitUtterance(**load_json(line))
            sound = 0 < len(one.units) == len(one.durations) and all(frames > 0 for frames in one.durations)
            sound = sound and all(0 <= unit < num_units for unit in one.units)
        except (ValueError, TypeError):
            sound = False
        if not sound:
            raise ValueError(
                f"{path}, line {number}, is no utterance in units from 0 to {num_units - 1}, each with a duration in "
                "frames. Extract them again: mlsuperb units extract"
            )
        yield one


def without_repetitions(units_F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The units (R,) of the runs of equal units, and how many frames (R,) each lasts."""
    starts_R = run_starts(units_F)
    return units_F[starts_R], np.diff(starts_R, append=len(units_F))


def _utterances(labels: Labels, splits: Collection[str], languages: Collection[str]) -> Iterator[UnitUtterance]:
    rows = (row for batch in _batches(labels.folder, *_COLUMNS) for row in batch.to_pylist())
    for number, row in enumerate(rows):
        if (not splits or row["split"] in splits) and (not languages or row["language"] in languages):
            units_R, durations_R = without_repetitions(labels[number])
            row["speaker"] = row["speaker"] or None
            yield UnitUtterance(**row, units=units_R.tolist(), durations=durations_R.tolist())


def _batches(labels_folder: Path, *names: str) -> Iterator[pa.RecordBatch]:
    """Some columns of the manifest, some rows at a time."""
    with pq.ParquetFile(labels_folder / MANIFEST_FILE) as file:
        yield from file.iter_batches(_PIECE, columns=list(names))


def _check_wanted(labels_folder: Path, splits: Collection[str], languages: Collection[str]) -> None:
    """Refuse splits and languages that the labels do not have."""
    pairs: set[tuple[str, str]] = set()
    for batch in _batches(labels_folder, "split", "language"):
        groups = pa.Table.from_batches([batch]).group_by(["split", "language"]).aggregate([])
        pairs |= {(row["split"], row["language"]) for row in groups.to_pylist()}
    there = sorted({split for split, _ in pairs})
    if absent := [split for split in splits if split not in there]:
        raise ValueError(
            f"{labels_folder} has no utterance of the split {', '.join(absent)}, only of {', '.join(there)}. Give one of these, "
            "or label the other with the same codebook: job=labels labelling.run=RUN labelling.splits=[...]"
        )
    spoken = sorted({language for split, language in pairs if not splits or split in splits})
    if absent := [language for language in languages if language not in spoken]:
        where = f" in {', '.join(splits)}" if splits else ""
        raise ValueError(
            f"{labels_folder} has no utterance of {', '.join(absent)}{where}; its languages there are {some(spoken, at_most=9)}. "
            "Give some of these, or label the others with the same codebook: job=labels labelling.run=RUN data=..."
        )


def _check_place(out: Path) -> None:
    """Refuse a folder that holds anything but units, since it would be replaced."""
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if out.exists() and (not out.is_dir() or names - {ABOUT_FILE, UNITS_FILE, TSV_FILE}):
        raise ValueError(
            f"{out} is there already and holds other things than units, so it will not be overwritten: give another folder "
            "as --out, or remove it yourself"
        )
