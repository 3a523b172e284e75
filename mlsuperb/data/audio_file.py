"""An audio file, opened: its true length, and what is wrong with it. Letters: T samples, C channels.

A header is not believed where it can be wrong: the length of an MP3 comes from its frames, as does that of a FLAC file whose
header leaves it open (`mlsuperb.data.containers`). Files that were cut short or hold several recordings are found by
`audio_info`, which decodes where it is asked to. A path may also name a file within an uncompressed tar archive
(`member`), of which no other part is read.
"""

from __future__ import annotations

import io
import math
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np
import soundfile

from mlsuperb.data import containers

MISSING_AUDIO = "missing audio file"
UNREADABLE_AUDIO = "unreadable audio file"
CUT_AUDIO = "audio file cut short"
JOINED_AUDIO = "several recordings in one audio file"
DAMAGED_AUDIO = "damaged audio file"
WRONG_LEVEL = "audio beyond full scale"

# What libsndfile knows by content; `.raw` and its like have no header and are left out.
EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".oga", ".aiff", ".aif", ".au", ".caf", ".w64", ".sph")
MEMBER = r"^(?P<archive>.+\.tar)#(?P<offset>\d+)\+(?P<size>\d+)$"  # what `member` makes
_member = re.compile(MEMBER, re.DOTALL)
# Codings of libsndfile (FLAC's are PCM, too) whose samples do not depend on earlier ones
EXACT = ("PCM", "FLOAT", "DOUBLE")
# Segment tables round their times, and compressed files pad their last packet: so much is not an error.
END_TOLERANCE_S = 0.1
RATES_HZ = (2_000, 768_000)  # of what can be a recording
LOUDEST = 32.0  # 30 dB above full scale: no float file that is louder was made by a recording in [-1, 1]
_UNKNOWN_LENGTH = 2**62  # libsndfile says 2^63 - 1
# libsndfile's log of a header whose chunk of sound claims more bytes than the file has
_CLAIM = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE | re.IGNORECASE)
_PLACEHOLDER = 0x7FFF0000  # bytes: who writes to a pipe claims about 2 or 4 GiB
_DECODED = 2**18  # samples at a time
# Samples before those that are asked for: an MP3 frame takes bits from up to 511 bytes before it, 14 frames at 8 kbit/s
_RESERVOIR = 16 * 1152
DAMAGED_SHARD = (
    "Copy the shard again from where it was whole; or remove it and give the command that wrote it once more (mlsuperb data "
    "shard), which writes the shards that are missing."
)


@dataclass(frozen=True)
class AudioInfo:
    """Rate and length of an audio file; how much its header claims beyond that (infinity: some, but it does not say how much)."""

    rate_hz: int
    num_samples: int
    missing_s: float = 0.0

    @property
    def duration_s(self) -> float:
        """Length of the whole file."""
        return self.num_samples / self.rate_hz

    @property
    def cut_short(self) -> str:
        """A sentence where something is missing."""
        more = f" ({self.missing_s:.1f} s are missing)" if math.isfinite(self.missing_s) else ""
        return f"the file ends before its audio does{more}."


class AudioError(ValueError):
    """Audio that cannot be used.

    Args:
        fault: what it is counted as.
        readable_s: seconds of the file before what is wrong.
    """

    # torch raises an error of a worker process anew by its message alone
    def __init__(self, message: str, fault: str = UNREADABLE_AUDIO, *, readable_s: float = 0.0) -> None:
        super().__init__(message)
        self.fault, self.readable_s = fault, readable_s


def audio_info(path: str | os.PathLike[str], *, decode: bool = False) -> AudioInfo:
    """Rate and true length of a file.

    Args:
        decode: decode all of it, too, where its coding can hide damage behind a sound header: compressed audio and floats.

    Raises:
        AudioError: the file is missing, is no audio, or holds several recordings; when decoded, something in it cannot be
            decoded, is missing, or is no sound.
    """
    with open_audio(path) as file:
        info = AudioInfo(rate_hz=file.samplerate, num_samples=file.frames, missing_s=_missing_s(path, file))
        is_plain = file.format != "FLAC" and file.subtype.startswith(EXACT)
        if decode and (not is_plain or file.subtype in ("FLOAT", "DOUBLE")):
            _check_sound(path, file)
    return info


def _check_sound(path: str | os.PathLike[str], file: soundfile.SoundFile) -> None:
    if file.format == "FLAC" and _content(path).find(b"fLaC\0\0\0\x22", 4) > 0:
        raise _joined_file(path)
    num_decoded = 0
    try:
        while len(samples_TC := read_samples(path, file, _DECODED)):
            refuse_beyond_scale(path, samples_TC)
            num_decoded += len(samples_TC)
            if len(samples_TC) < _DECODED:  # libsndfile goes on behind a hole in an Ogg file
                break
    except AudioError as error:
        error.readable_s = num_decoded / file.samplerate
        raise
    if num_decoded < file.frames - END_TOLERANCE_S * file.samplerate:
        readable_s, length_s = (number / file.samplerate for number in (num_decoded, file.frames))
        raise AudioError(
            f"{path}: {readable_s:.2f} s of {length_s:.2f} s can be decoded. Get the file again, or take it out.",
            DAMAGED_AUDIO,
            readable_s=readable_s,
        )


def member(archive: str | os.PathLike[str], *, offset: int, size: int) -> str:
    """The `audio` of an utterance whose file is the `size` bytes from `offset` on in an uncompressed tar archive."""
    return f"{archive}#{offset}+{size}"


def file_of(path: str | os.PathLike[str]) -> str:
    """The file on disk that the audio at `path` is read from: the archive where it is a member of one, else `path`."""
    found = _member.match(os.fspath(path))
    return found["archive"] if found else os.fspath(path)


def read_samples(
    path: str | os.PathLike[str], file: soundfile.SoundFile, number: int, *, start: int | None = None
) -> np.ndarray:
    """The next `number` samples (T, C), or those from `start` on; fewer at the end."""
    lead = min(start or 0, _RESERVOIR) if file.format == "MP3" else 0
    try:
        if start is not None:
            file.seek(start - lead)
        samples_TC: np.ndarray = file.read(lead + number, dtype="float32", always_2d=True)[lead:]
    except soundfile.LibsndfileError as error:
        raise AudioError(_unreadable(path, error), DAMAGED_AUDIO) from error
    return samples_TC


def refuse_beyond_scale(path: str | os.PathLike[str], samples_TC: np.ndarray) -> None:
    """
    Raises:
        AudioError: samples are not finite, or louder than `LOUDEST`.
    """
    loudest = float(np.abs(samples_TC).max())
    if not math.isfinite(loudest):
        raise AudioError(
            f"{path}: the audio holds values that are not finite. Get the file again or take it out.",
            DAMAGED_AUDIO,
        )
    if loudest > LOUDEST:
        raise AudioError(
            f"{path}: the audio has samples of up to {loudest:,.5g}, where 1 is full scale: integers written as floats? Divide "
            "them by full scale (32,768 for 16 bits) and write the file again, or take it out.",
            WRONG_LEVEL,
        )


def open_audio(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    """A file whose `frames` are its true length, as far as that can be found without decoding."""
    name = file_of(path)
    if not os.path.isfile(name):
        raise AudioError(
            f"{name}: there is no such audio file. Check the corpus folder and prepare the data again.",
            MISSING_AUDIO,
        )
    is_file = name == os.fspath(path)
    file = _sound_file(path, os.fspath(path) if is_file else io.BytesIO(_bytes_of(os.fspath(path))))
    if file.format == "MP3" and _is_misjudged(os.fspath(path), os.stat(name).st_mtime_ns):
        content = _content(path)
        stream = containers.mpeg_stream(content)
        assert stream is not None, "looked at before"
        file.close()
        file = _sound_file(path, io.BytesIO(containers.mpeg_with_length(content, stream)))
    elif file.frames >= _UNKNOWN_LENGTH:
        content = _content(path)
        num_samples = containers.flac_num_samples(content) if file.format == "FLAC" else None
        if num_samples is None:
            raise AudioError(_unreadable(path, ValueError("its length is unknown")), UNREADABLE_AUDIO)
        file.close()
        file = _sound_file(path, io.BytesIO(containers.flac_with_length(content, num_samples)))
    return file


def _sound_file(path: str | os.PathLike[str], source: str | io.BytesIO) -> soundfile.SoundFile:
    try:
        file = soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a headerless format such as .raw
        raise AudioError(_unreadable(path, error), UNREADABLE_AUDIO) from error
    if not RATES_HZ[0] <= file.samplerate <= RATES_HZ[1]:
        rate = ValueError(f"{file.samplerate:,} samples a second are not the rate of a recording")
        raise AudioError(_unreadable(path, rate), UNREADABLE_AUDIO)
    return file


@lru_cache(maxsize=2**16)
def _is_misjudged(path: str, _changed_ns: int) -> bool:
    """Whether libsndfile takes an MP3 for longer or shorter than its frames are, by more than one of them."""
    content = _content(path)
    stream = containers.mpeg_stream(content)
    with _sound_file(path, io.BytesIO(content)) as file:
        return stream is not None and abs(stream.num_samples - file.frames) > stream.sound[0].num_samples


def _missing_s(path: str | os.PathLike[str], file: soundfile.SoundFile) -> float:
    """Seconds of audio that the structure of a file promises beyond its end; infinity where it does not say how many."""
    if file.format == "MP3" and (stream := containers.mpeg_stream(_content(path))):
        if stream.is_joined:
            raise _joined_file(path)
        return stream.num_missing / file.samplerate
    if file.format == "OGG":
        content = _content(path)
        if containers.ogg_is_joined(content):
            raise _joined_file(path)
        return math.inf if containers.ogg_is_cut(content) else 0.0
    claims = [(int(claimed), int(there)) for claimed, there in _CLAIM.findall(file.extra_info)]
    if file.format in ("NIST", "RF64", "W64", "AU", "CAF"):
        with _bytes(path) as opened:
            head, length = opened.read(containers.HEAD), opened.seek(0, os.SEEK_END)
            if end := containers.declared_end(head):
                claims.append((end, length))
                opened.seek(min(end, length))
                if opened.read(4) == head[:4]:
                    raise _joined_file(path)
    beyond = [claimed / there - 1 for claimed, there in claims if 0 < there < claimed < _PLACEHOLDER]
    return max(beyond, default=0.0) * file.frames / file.samplerate


def _joined_file(path: str | os.PathLike[str]) -> AudioError:
    return AudioError(
        f"{path}: the file holds several recordings one after the other, of which decoders read the first. Convert it "
        "(ffmpeg -i FILE OUT.flac), or take it out.",
        JOINED_AUDIO,
    )


def _content(path: str | os.PathLike[str]) -> bytes:
    with _bytes(path) as file:
        return file.read()


def _bytes(path: str | os.PathLike[str]) -> BinaryIO:
    return open(path, "rb") if file_of(path) == os.fspath(path) else io.BytesIO(_bytes_of(os.fspath(path)))


def _bytes_of(path: str) -> bytes:
    found = _member.match(path)
    assert found is not None, "a member of an archive"
    size = int(found["size"])
    file = _archive(found["archive"], os.stat(found["archive"]).st_mtime_ns)
    content = os.pread(file.fileno(), size, int(found["offset"]))
    if len(content) < size:
        raise AudioError(f"{path}: the archive ends {size - len(content):,} bytes too early. {DAMAGED_SHARD}")
    return content


@lru_cache(maxsize=256)
def _archive(path: str, _changed_ns: int) -> io.FileIO:
    """Kept open as long as it does not change: on file systems of clusters, opening a file takes longer than reading a part."""
    return io.FileIO(path)


def _unreadable(path: str | os.PathLike[str], error: Exception) -> str:
    if file_of(path) != os.fspath(path):
        return f"{path}: these bytes cannot be read as audio ({error}). {DAMAGED_SHARD}"
    return (
        f"{path}: cannot be read as audio ({error}). Get the file again, or convert it to WAV, FLAC or Ogg; "
        "with data.on_bad=skip (and data.decode; both are the default), preparing the data again (mlsuperb data prepare) counts "
        "it and goes on."
    )
