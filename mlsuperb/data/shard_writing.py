"""Writing the shards of a corpus (`mlsuperb.data.shards`) with lhotse's own writers of Shar.

The utterances of each (split, language, dataset) are shuffled and cut into shards of about equal length, and the shards of a
split are numbered at random. A shard is written whole or not at all, its index last, so whoever writes goes on where an earlier
process stopped, and several processes can share the work. FLAC keeps 16-bit audio as it is; audio of more bits is rounded to
16.
"""

from __future__ import annotations

import gzip
import logging
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt, PositiveFloat
from tqdm import tqdm

from mlsuperb.data.arrow import same_rows, sorted_rows_digest, text_array
from mlsuperb.data.audio import load_audio
from mlsuperb.data.audio_file import member
from mlsuperb.data.manifest import read_manifest, records, to_frame, write_manifest
from mlsuperb.data.shards import ABOUT_FILE, AUDIO, CUTS, UNITS, UNITS_FILE, Shard, members
from mlsuperb.runtime.files import disk_errors_named, written_before
from mlsuperb.types import SAMPLE_RATE_HZ, Utterance

if TYPE_CHECKING:
    from lhotse import MonoCut

log = logging.getLogger(__name__)
Codec = Literal["flac", "opus"]


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """How shards are made.

    Args:
        hours_per_shard: of audio in a shard, about. Two hours are about 120 MB of FLAC: enough to be read at the speed of a disk,
            and few enough for a hundred shards to mix languages.
        codec: of the audio. Opus takes less space, but changes the audio.
        seed: of the order of utterances and of shards.
    """

    hours_per_shard: PositiveFloat = 2.0
    codec: Codec = "flac"
    seed: NonNegativeInt = 0


@dataclass(frozen=True, kw_only=True)
class Units:
    """Units of utterances, to be written beside the audio.

    Args:
        about: what they are (codebook, rate, number of units).
        rate_hz: units per second.
        named: `split` and `id` of the utterances that have units.
        of: the units (F,) uint16 of a row of `named`, by its number.
    """

    about: Mapping[str, Any]
    rate_hz: float
    named: pd.DataFrame
    of: Callable[[int], np.ndarray]

    @cached_property
    def splits(self) -> frozenset[str]:
        """The splits that have units."""
        return frozenset(self.named["split"].unique())


def planned(manifest: pd.DataFrame, sharding: Sharding) -> list[tuple[Shard, np.ndarray]]:
    """Shards, and the numbers of the rows of each, in their order; the same for the same rows in another order."""
    seconds_N, found = manifest["duration_s"].to_numpy(), []
    by_id = manifest[["id", "split", "language", "dataset"]].reset_index(drop=True).sort_values("id", kind="stable")
    for split, of_split in by_id.groupby("split", sort=True):
        parts: list[np.ndarray] = []
        for pair, rows in of_split.groupby(["language", "dataset"], sort=True):
            rng = np.random.default_rng([sharding.seed, zlib.crc32("\t".join(map(str, (split, *pair))).encode())])
            shuffled = rng.permutation(rows.index.to_numpy())
            end_s = seconds_N[shuffled].cumsum()
            number = max(1, round(end_s[-1] / 3600 / sharding.hours_per_shard))
            edges = np.searchsorted(end_s, end_s[-1] * np.arange(1, number) / number)
            parts += [part for part in np.split(shuffled, edges) if len(part)]
        order = np.random.default_rng([sharding.seed, len(parts)]).permutation(len(parts))
        found += [(Shard(str(split), number), parts[at]) for number, at in enumerate(order)]
    return found


def write_shards(
    manifest: pd.DataFrame,
    folder: Path,
    *,
    sharding: Sharding,
    units: Units | None = None,
    resample: bool = True,
    skip_bad: bool = True,
    part: tuple[int, int] = (0, 1),
) -> int:
    """Write the shards of a manifest that are missing, and their units where these are missing.

    Args:
        resample: convert other rates than 16 kHz; otherwise such a file is an error.
        skip_bad: leave utterances out whose audio cannot be read, with a warning; otherwise they are errors.
        part: (i, n): of every n shards only one is written, so that n processes can share the work.

    Returns:
        How many shards are missing still, which other processes have to write.

    Raises:
        ValueError: lhotse is not installed; the folder holds shards of other speech; audio cannot be read.
    """
    _need_lhotse()
    shards = planned(manifest, sharding)
    _begin(folder / ABOUT_FILE, {**asdict(sharding), **_about_rows(manifest), "shards": _counts(shards)})
    if units is not None:
        _begin(folder / UNITS_FILE, units.about)
    mine = shards[part[0] :: part[1]]
    place_N = _places_of_units(manifest, mine, units)
    for shard, rows in tqdm(mine, desc="shards", unit="shard", disable=None):
        if not _is_whole(folder, shard):
            given = records(manifest.iloc[rows], Utterance)
            _write_shard(folder, shard, given, codec=sharding.codec, resample=resample, skip_bad=skip_bad)
        if units is not None and _lacks_units(folder, shard, units):
            _write_units(folder, shard, units, dict(zip(manifest["id"].iloc[rows], place_N[rows], strict=True)))
    return sum(
        not _is_whole(folder, shard) or (units is not None and _lacks_units(folder, shard, units))
        for shard, _ in shards
    )


def _need_lhotse() -> None:
    try:
        import lhotse  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"lhotse, which writes the shards, cannot be imported here ({error}): pip install 'mlsuperb[lhotse]'. To read shards "
            "needs nothing more."
        ) from error


def _about_rows(manifest: pd.DataFrame) -> dict[str, Any]:
    columns = [text_array(manifest[name]) for name in ("id", "split", "language", "dataset")]
    hours = round(float(manifest["duration_s"].sum() / 3600), 3)
    return {"num_rows": len(manifest), "hours": hours, "sha256": sorted_rows_digest(columns)}


def _counts(shards: Sequence[tuple[Shard, np.ndarray]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for shard, _ in shards:
        counts[shard.split] = counts.get(shard.split, 0) + 1
    return counts


def _begin(path: Path, about: Mapping[str, Any]) -> None:
    """Say what the folder of `path` holds, or compare it with what was said before."""
    if (before := written_before(path, about)) is not None:
        raise ValueError(
            f"{path.parent} holds shards of other speech, with other units or other settings ({path.name}: {before}; now "
            f"{dict(about)}). Give another folder, or remove this one"
        )


def _places_of_units(
    manifest: pd.DataFrame, shards: Sequence[tuple[Shard, np.ndarray]], units: Units | None
) -> np.ndarray:
    """The row (N,) of the units of each row of a manifest that is in some shards, or -1."""
    place_N = np.full(len(manifest), -1)
    if units is not None and shards:
        rows = np.concatenate([of_shard for _, of_shard in shards])
        place_N[rows] = same_rows(manifest[["split", "id"]].iloc[rows], units.named)
    return place_N


def _is_whole(folder: Path, shard: Shard) -> bool:
    return all((folder / name).is_file() for name in (shard.file(CUTS), shard.file(AUDIO), shard.index))


def _lacks_units(folder: Path, shard: Shard, units: Units) -> bool:
    return shard.split in units.splits and not (folder / shard.file(UNITS)).is_file()


def _write_shard(
    folder: Path, shard: Shard, rows: Sequence[Utterance], *, codec: Codec, resample: bool, skip_bad: bool
) -> None:
    """Write the audio, the cuts and the index of a shard."""
    from lhotse.audio.backend import audio_backend
    from lhotse.shar.writers.audio import AudioTarWriter
    from lhotse.shar.writers.cut import JsonlShardWriter

    written: list[Utterance] = []
    with _renamed(folder, shard, CUTS, AUDIO) as files:
        with (
            audio_backend("LibsndfileBackend"),  # the others resample to 48 kHz for Opus, or need FFmpeg
            AudioTarWriter(str(files[AUDIO]), shard_size=None, format=codec) as audio,
            JsonlShardWriter(str(files[CUTS]), shard_size=None) as cuts,
        ):
            for row, samples_T in _waves(rows, resample=resample, skip_bad=skip_bad):
                cut = _cut(row, num_samples=len(samples_T))
                audio.write(row.id, samples_T[None], SAMPLE_RATE_HZ, manifest=cut.recording)
                cuts.write(cut)
                written.append(replace(row, start_s=0.0, duration_s=cut.duration))
        places = members(files[AUDIO]) if written else []
    name = shard.file(AUDIO)
    indexed = [
        replace(row, audio=member(name, offset=offset, size=size))
        for row, (_, _, offset, size) in zip(written, places, strict=True)
    ]
    (folder / shard.index).parent.mkdir(exist_ok=True)
    write_manifest(to_frame(indexed), folder / shard.index)


def _waves(rows: Sequence[Utterance], *, resample: bool, skip_bad: bool) -> Iterator[tuple[Utterance, np.ndarray]]:
    """Samples (T,) of each utterance, 16 bits: rounded here, since libsndfile does not give back the same numbers from floats."""
    for row in rows:
        try:
            wave_T = load_audio(row.audio, start_s=row.start_s, duration_s=row.duration_s, resample=resample)
        except ValueError as error:
            if not skip_bad:
                raise
            log.warning("%s is left out: %s", row.id, error)
            continue
        yield row, np.round(wave_T * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)


def _write_empty(path: Path) -> None:
    opened = tarfile.open(path, "w") if path.suffix == ".tar" else gzip.open(path, "w")  # noqa: SIM115
    opened.close()


def _cut(row: Utterance, *, num_samples: int) -> MonoCut:
    from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

    recording = Recording(
        id=row.id, sources=[AudioSource(type="shar", channels=[0], source="")], sampling_rate=SAMPLE_RATE_HZ,
        num_samples=num_samples, duration=num_samples / SAMPLE_RATE_HZ,
    )  # fmt: skip
    said = SupervisionSegment(
        id=row.id, recording_id=row.id, start=0, duration=recording.duration, text=row.text, language=row.language,
        speaker=row.speaker,
    )  # fmt: skip
    return MonoCut(
        id=row.id, start=0, duration=recording.duration, channel=0, supervisions=[said], recording=recording,
        custom={"dataset": row.dataset},
    )  # fmt: skip


def _write_units(folder: Path, shard: Shard, units: Units, places: Mapping[str, int]) -> None:
    """Write the units of the utterances of a shard that is there; `places` says by their ids where these are, -1 for nowhere.

    Raises:
        ValueError: an utterance has none.
    """
    from lhotse.array import Array, TemporalArray
    from lhotse.shar.writers.array import ArrayTarWriter

    rows = records(read_manifest(folder / shard.index), Utterance)
    with _renamed(folder, shard, UNITS) as files, ArrayTarWriter(str(files[UNITS]), shard_size=None) as writer:
        for row in rows:
            if places[row.id] < 0:
                raise ValueError(
                    f"there are no units of {row.id} of split {shard.split}: give --labels a run that has labelled the corpus "
                    "that is written"
                )
            units_F = np.asarray(units.of(places[row.id]), np.uint16)
            stored = Array(storage_type="shar", storage_path="", storage_key="", shape=list(units_F.shape))
            about = TemporalArray(array=stored, temporal_dim=0, frame_shift=1 / units.rate_hz, start=0)
            writer.write(row.id, units_F, manifest=about)


@contextmanager
def _renamed(folder: Path, shard: Shard, *names: str) -> Iterator[dict[str, Path]]:
    """Files to write to; when the block ends without an error, they become those of the shard."""
    (folder / shard.split).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as scratch:
        files = {name: Path(scratch) / name for name in names}
        with disk_errors_named(folder / shard.split):
            yield files
        for name, path in files.items():
            if not path.exists():  # lhotse makes no file for a shard of which nothing can be read
                _write_empty(path)
            os.replace(path, folder / shard.file(name))
