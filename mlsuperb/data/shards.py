"""Speech in shards: uncompressed tar archives of a few hours each, which are read in sequence, in the place of millions of
files.

The format is lhotse's Shar, which its users can read (`CutSet.from_shar(in_dir=FOLDER/train)`), with an index beside it:

<folder>/shards.json                        how the shards were made, how many there are in each split
<folder>/train/cuts.000000.jsonl.gz         the utterances of a shard: id, transcript, language, speaker, dataset (`custom`)
<folder>/train/recording.000000.tar         their audio, FLAC or Opus, 16 kHz, mono
<folder>/train/units.000000.tar             their units, uint16, where the labels of a run were given
<folder>/units.json                         what these units are
<folder>/index/train.000000.parquet         manifest of a shard; its `audio` says at which byte of the archive an utterance lies

A shard that is written here (`mlsuperb.data.shard_writing`) holds utterances of one split, language and dataset. So it can be
read as often in a pass as a sampling law wants (`mlsuperb.data.windows`), and nothing is read that is not used. To read needs
no lhotse.
"""

from __future__ import annotations

import gzip
import json
import logging
import math
import os
import tarfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlsuperb.data.arrow import same_rows
from mlsuperb.data.audio_file import member
from mlsuperb.data.manifest import columns, read_columns
from mlsuperb.runtime.lines import is_text
from mlsuperb.runtime.records import load_json
from mlsuperb.types import Utterance

log = logging.getLogger(__name__)
ABOUT_FILE, UNITS_FILE = "shards.json", "units.json"
CUTS, AUDIO, UNITS = "cuts.jsonl.gz", "recording.tar", "units.tar"  # of a shard; its number stands before the suffix
NO_DATA = ".nodata"  # suffix of an item that stands for audio which a cut does not have
MAX_LACKING = 0.05  # share of utterances that shards of the same speech may lack
TOLERANCE_S = 0.1  # between the audio of a shard and the utterance that it was written for


@dataclass(frozen=True)
class Shard:
    """Names of the files of a shard, below the folder of all."""

    split: str
    number: int

    def file(self, name: str) -> str:
        """Of its cuts, audio or units."""
        stem, _, suffix = name.partition(".")
        return f"{self.split}/{stem}.{self.number:06d}.{suffix}"

    @property
    def index(self) -> str:
        """Of its manifest."""
        return f"index/{self.split}.{self.number:06d}.parquet"


def is_folder_of_shards(folder: Path) -> bool:
    """Whether `mlsuperb data shard` made it."""
    return (folder / ABOUT_FILE).is_file()


def read_index(
    folder: Path, *, splits: Collection[str] | None = None, names: Sequence[str] = columns(Utterance)
) -> pd.DataFrame:
    """The manifest of the shards of a folder, in their order: `audio` names archives by their absolute paths.

    Args:
        splits: of these alone; None: of all.
        names: the columns that are read; `audio` is among them.

    Raises:
        ValueError: `mlsuperb data shard` did not write it, or shards are missing.
    """
    if not is_folder_of_shards(folder):
        raise ValueError(f"{folder} holds no shards ({ABOUT_FILE}). Give the folder that mlsuperb data shard wrote")
    counts = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))["shards"]
    chosen = [split for split in counts if splits is None or split in splits]
    wanted = [folder / Shard(split, number).index for split in chosen for number in range(counts[split])]
    if absent := [path for path in wanted if not path.is_file()]:
        raise ValueError(
            f"{folder} lacks {len(absent)} of {len(wanted)} shards (index/{absent[0].name}, ...). Give the command that wrote "
            "the others again (mlsuperb data shard): it goes on where it stopped"
        )
    frame = read_columns(wanted, names)
    return frame.assign(audio=f"{os.path.abspath(folder)}/" + frame["audio"])


def in_shards(manifest: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The rows of a manifest with their audio in shards that were written of it; the few that the shards lack, because their
    audio could not be read then, are left out with a warning. Every row keeps its index.

    Raises:
        ValueError: the shards hold other speech.
    """
    wanted = ("id", "split", "audio", "duration_s")
    stored = read_index(folder, splits=set(manifest["split"]), names=wanted)
    place_N = same_rows(manifest, stored)
    known_N = place_N >= 0
    found = stored.iloc[place_N[known_N]]
    off_s = np.abs(found["duration_s"].to_numpy() - manifest["duration_s"].to_numpy()[known_N])
    if np.mean(known_N) < 1 - MAX_LACKING or off_s.max(initial=0) > TOLERANCE_S:
        raise ValueError(
            f"{folder} holds other speech: {int(known_N.sum()):,} of {len(manifest):,} utterances are there, and their durations "
            f"differ by up to {off_s.max(initial=0):.2f} s. Give shards of the corpus that was labelled"
        )
    if not known_N.all():
        log.warning("%s lacks %d of %d utterances, which are left out", folder, int((~known_N).sum()), len(manifest))
    return manifest[known_N].assign(audio=found["audio"].array, start_s=0.0)


def members(archive: Path) -> list[tuple[str, str, int, int]]:
    """(id, suffix, first byte, bytes) of each item of an archive of Shar; a description follows each, which is not looked at.

    Raises:
        ValueError: it is missing, or no tar archive.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            found = list(tar)
    except (OSError, tarfile.TarError) as error:
        raise ValueError(f"{archive}: this is no uncompressed tar archive that can be read ({error})") from error
    return [(*os.path.splitext(item.name), item.offset_data, item.size) for item in found[::2]]


def read_cuts(cuts: Path, *, split: str, language: str | None, dataset: str) -> Iterator[Utterance]:
    """The rows of a shard that lhotse wrote, by its cuts and the headers in its archive; without audio, `audio` is empty.

    Args:
        cuts: the file of its cuts.
        language: of cuts whose supervisions name none.
        dataset: of cuts whose `custom` names none.

    Raises:
        ValueError: its files do not belong together, or a cut has no language.
    """
    archive = cuts.with_name(cuts.name.replace("cuts", "recording", 1).partition(".jsonl")[0] + ".tar")
    listed = list(_lines_of_cuts(cuts))
    items = members(archive)
    if [cut["id"] for _, cut in listed] != [name for name, *_ in items]:
        raise ValueError(
            f"{archive} does not hold the {len(listed)} cuts of {cuts.name}, in their order. Copy the shard again"
        )
    for (number, cut), (_, suffix, offset, size) in zip(listed, items, strict=True):
        audio = "" if suffix == NO_DATA else member(os.path.abspath(archive), offset=offset, size=size)
        try:
            row = _row_of_cut(cut, audio=audio, split=split, dataset=dataset, language=language or "")
            if not (
                math.isfinite(row.duration_s) and all(map(is_text, (row.text, row.language, row.dataset, row.speaker)))
            ):
                raise ValueError("its duration is not finite, or a text of it is not Unicode")
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise ValueError(
                f"{cuts}, line {number}: this is no cut of lhotse ({error}). Copy the shard again"
            ) from error
        if not row.language:
            raise ValueError(
                f"{cut['id']}: this cut names no language. Give the language of all such cuts: data.language=..."
            )
        yield row


def _lines_of_cuts(cuts: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, cut) of each line; a cut is an object with an id."""
    opened = gzip.open if cuts.suffix == ".gz" else open
    try:
        with opened(cuts, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                cut = load_json(line)
                if not (isinstance(cut, dict) and isinstance(cut.get("id"), str) and is_text(cut["id"])):
                    raise ValueError(f"line {number} is no object with an id")
                yield number, cut
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(
            f"{cuts}: these are no cuts of lhotse that can be read ({error}). Copy the shard again"
        ) from error


def _row_of_cut(cut: dict[str, Any], *, audio: str, split: str, language: str, dataset: str) -> Utterance:
    said = cut.get("supervisions") or [{}]
    return Utterance(
        id=cut["id"],
        audio=audio,
        start_s=0.0,
        duration_s=float(cut["duration"]),
        text=" ".join(one["text"] for one in said if one.get("text")),
        language=said[0].get("language") or language,
        dataset=(cut.get("custom") or {}).get("dataset", dataset),
        split=split,
        speaker=said[0].get("speaker") or "",
    )
