"""Reading audio: any file that libsndfile knows becomes a mono wave at 16 kHz. Letters: T samples, C channels.

The audio of an utterance is a path, or the text that `joined` makes of several pieces of audio, which are read one after the
other. A list of pieces was chosen over writing the joined audio to new files because then nothing has to be written, kept or
resumed: a manifest of 25 million rows is prepared without decoding audio, and `mlsuperb data check` works without a folder. A
path may also be that of a file within an uncompressed tar archive (`member`), of which no other part is read.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soundfile

from mlsuperb.types import SAMPLE_RATE_HZ

# What libsndfile knows by content; `.raw` and its like have no header and are left out.
EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".oga", ".aiff", ".aif", ".au", ".caf", ".w64", ".sph")
_PIECES = (
    "pieces:"  # begins the audio of an utterance that consists of several; no path of a reader does: those are absolute
)
MEMBER = r"^(?P<archive>.+\.tar)#(?P<offset>\d+)\+(?P<size>\d+)$"  # what `member` makes
_member = re.compile(MEMBER, re.DOTALL)
_EXACT = (
    "PCM",
    "FLOAT",
    "DOUBLE",
)  # codings of libsndfile (FLAC's are PCM, too) whose samples do not depend on earlier ones
_LEAST_S = 0.001  # an overlap with a piece that is shorter comes from rounding
# Segment tables round their times, and compressed files pad their last packet: so much is not an error.
END_TOLERANCE_S = 0.1
DAMAGED_SHARD = (
    "Copy the shard again from where it was whole; or remove it and give the command that wrote it once more (mlsuperb data "
    "shard), which writes the shards that are missing."
)


@dataclass(frozen=True)
class AudioInfo:
    """Rate and length of an audio file, from its header."""

    rate_hz: int
    num_samples: int

    @property
    def duration_s(self) -> float:
        """Length of the whole file."""
        return self.num_samples / self.rate_hz


def audio_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Read a file's header.

    Raises:
        ValueError: the file is missing or is no audio.
    """
    with _open(path) as file:
        return AudioInfo(rate_hz=file.samplerate, num_samples=file.frames)


def joined(pieces: Sequence[tuple[str, float, float]]) -> str:
    """The `audio` of an utterance that consists of (path, start_s, duration_s) pieces, one after the other."""
    return _PIECES + json.dumps(pieces, ensure_ascii=False, separators=(",", ":"))


def member(archive: str | os.PathLike[str], *, offset: int, size: int) -> str:
    """The `audio` of an utterance whose file is the `size` bytes from `offset` on in an uncompressed tar archive."""
    return f"{archive}#{offset}+{size}"


def file_of(path: str | os.PathLike[str]) -> str:
    """The file on disk that the audio at `path` is read from: the archive where it is a member of one, else `path`."""
    found = _member.match(os.fspath(path))
    return found["archive"] if found else os.fspath(path)


def files_of(audio: str) -> list[str]:
    """The files on disk that the audio of an utterance is read from: several where it is `joined`."""
    if not audio.startswith(_PIECES):
        return [file_of(audio)]
    return [file_of(path) for path, *_ in json.loads(audio.removeprefix(_PIECES))]


def load_audio(
    path: str | os.PathLike[str],
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    resample: bool = True,
) -> np.ndarray:
    """The wave of a file or of joined pieces, or of `duration_s` seconds of it from `start_s` on: (T,) float32, mono, 16 kHz.

    Channels are averaged. Other rates are resampled by torchaudio's windowed sinc.

    Raises:
        ValueError: the file is missing, corrupt, shorter than asked for, or has another rate while `resample` is off.
    """
    if str(path).startswith(_PIECES):
        pieces = json.loads(str(path).removeprefix(_PIECES))
        return _load_joined(pieces, start_s=start_s, duration_s=duration_s, resample=resample)
    with _open(path) as file:
        rate_hz = file.samplerate
        if rate_hz != SAMPLE_RATE_HZ and not resample:
            raise ValueError(wrong_rate(path, rate_hz=rate_hz))
        start = round(start_s * rate_hz)
        num_wanted = file.frames - start if duration_s is None else round(duration_s * rate_hz)
        try:
            file.seek(min(start, file.frames))
            samples_TC = file.read(max(num_wanted, 0), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ValueError(_unreadable(path, error)) from error
    if len(samples_TC) == 0 or len(samples_TC) < num_wanted - END_TOLERANCE_S * rate_hz:
        raise ValueError(
            f"{path}: {num_wanted / rate_hz:.2f} s of audio were asked for from {start_s:.2f} s on, but only "
            f"{len(samples_TC) / rate_hz:.2f} s could be read. The file is cut short or its segment is wrong: get it "
            "again or correct the segment, then prepare the data again (mlsuperb data prepare)."
        )
    wave_T = samples_TC[:, 0] if samples_TC.shape[1] == 1 else samples_TC.mean(axis=1)
    if not np.isfinite(wave_T).all():
        raise ValueError(f"{path}: the audio holds values that are not finite. Get the file again or take it out.")
    return np.ascontiguousarray(wave_T if rate_hz == SAMPLE_RATE_HZ else _to_16_khz(wave_T, rate_hz=rate_hz))


def load_part(
    path: str | os.PathLike[str],
    *,
    start_s: float,
    duration_s: float,
    first_s: float,
    length_s: float,
    resample: bool = True,
) -> np.ndarray:
    """`length_s` seconds from `first_s` on of the wave that `load_audio` gives for `start_s` and `duration_s`, to the bit.

    Of lossless audio at 16 kHz no more than these seconds are read. Of other audio the whole is decoded and cut: resampling,
    decoders of lossy formats and the roundings of joined pieces give other samples where they begin in the middle.

    Raises:
        ValueError: as `load_audio`.
    """
    first, number = round(first_s * SAMPLE_RATE_HZ), round(length_s * SAMPLE_RATE_HZ)
    if not _is_exact(path):
        return load_audio(path, start_s=start_s, duration_s=duration_s, resample=resample)[first : first + number]
    number = min(number, round(duration_s * SAMPLE_RATE_HZ) - first)
    start = round(start_s * SAMPLE_RATE_HZ) + first
    return load_audio(path, start_s=start / SAMPLE_RATE_HZ, duration_s=number / SAMPLE_RATE_HZ, resample=resample)


def _is_exact(path: str | os.PathLike[str]) -> bool:
    """Whether reading from the middle of a file gives the same samples as reading all of it."""
    if str(path).startswith(_PIECES):
        return False
    with _open(path) as file:
        return bool(file.samplerate == SAMPLE_RATE_HZ and file.subtype.startswith(_EXACT))


def _load_joined(
    pieces: Sequence[tuple[str, float, float]], *, start_s: float, duration_s: float | None, resample: bool
) -> np.ndarray:
    end_s = math.inf if duration_s is None else start_s + duration_s
    waves, before_s = [], 0.0
    for path, piece_start_s, piece_s in pieces:
        first_s, last_s = max(start_s - before_s, 0.0), min(end_s - before_s, piece_s)
        if last_s - first_s >= _LEAST_S:
            start, length = piece_start_s + first_s, last_s - first_s
            waves.append(load_audio(path, start_s=start, duration_s=length, resample=resample))
        before_s += piece_s
    if not waves:
        raise ValueError(
            f"{duration_s or 0:.2f} s of audio were asked for from {start_s:.2f} s on, of pieces that together last "
            f"{before_s:.2f} s: {pieces[0][0]} and others. Prepare the data again (mlsuperb data prepare)."
        )
    return np.concatenate(waves)


def wrong_rate(path: str | os.PathLike[str], *, rate_hz: int) -> str:
    """The message for a file that would have to be resampled although that was not allowed."""
    return (
        f"{path} has {rate_hz} samples a second, not {SAMPLE_RATE_HZ}, and data.resample is false. "
        "Set data.resample=true, or convert the file."
    )


def _to_16_khz(wave_T: np.ndarray, *, rate_hz: int) -> np.ndarray:
    import torch
    from torchaudio.functional import resample

    return resample(torch.from_numpy(np.ascontiguousarray(wave_T)), rate_hz, SAMPLE_RATE_HZ).numpy()


def _open(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    file = file_of(path)
    if not os.path.isfile(file):
        raise ValueError(f"{file}: there is no such audio file. Check the corpus folder and prepare the data again.")
    try:
        return soundfile.SoundFile(path if file == os.fspath(path) else io.BytesIO(_bytes_of(os.fspath(path))))
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a headerless format such as .raw
        raise ValueError(_unreadable(path, error)) from error


def _bytes_of(path: str) -> bytes:
    found = _member.match(path)
    assert found is not None, "a member of an archive"
    size = int(found["size"])
    file = _archive(found["archive"], os.stat(found["archive"]).st_mtime_ns)
    content = os.pread(file.fileno(), size, int(found["offset"]))
    if len(content) < size:
        raise ValueError(f"{path}: the archive ends {size - len(content):,} bytes too early. {DAMAGED_SHARD}")
    return content


@lru_cache(maxsize=256)
def _archive(path: str, _changed_ns: int) -> io.FileIO:
    """Kept open as long as it does not change: on file systems of clusters, opening a file takes longer than reading a part."""
    return io.FileIO(path)


def _unreadable(path: str | os.PathLike[str], error: Exception) -> str:
    if file_of(path) != os.fspath(path):
        return f"{path}: these bytes are no audio that can be read ({error}). {DAMAGED_SHARD}"
    return (
        f"{path}: this is no audio that can be read ({error}). Get the file again, or convert it to WAV, FLAC or Ogg; "
        "with data.on_bad=skip, preparing the data again (mlsuperb data prepare) counts it and goes on."
    )
