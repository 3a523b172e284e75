"""Reading audio: any file that libsndfile knows becomes a mono wave at 16 kHz. Letters: T samples, C channels.

The audio of an utterance is a path, or the text that `joined` makes of several pieces of audio, which are read one after the
other. A list of pieces was chosen over writing the joined audio to new files because then nothing has to be written, kept or
resumed: a manifest of 25 million rows is prepared without writing audio, and `mlsuperb data check` works without a folder.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from soundfile import SoundFile

from mlsuperb.data.audio_file import (
    CUT_AUDIO,
    END_TOLERANCE_S,
    EXACT,
    AudioError,
    file_of,
    open_audio,
    read_samples,
    refuse_beyond_scale,
)
from mlsuperb.types import SAMPLE_RATE_HZ

_PIECES = (
    "pieces:"  # begins the audio of an utterance that consists of several; no path of a reader does: those are absolute
)
_LEAST_S = 0.001  # an overlap with a piece that is shorter comes from rounding
_LARGEST_KERNEL = 2**21  # taps: 8 MB, beyond those of all common rates (11,025 Hz: 282,240)
_NEAREST_KERNEL = 2**18  # taps, of a rate that is approximated


def joined(pieces: Sequence[tuple[str, float, float]]) -> str:
    """The `audio` of an utterance that consists of (path, start_s, duration_s) pieces, one after the other."""
    return _PIECES + json.dumps(pieces, ensure_ascii=False, separators=(",", ":"))


def pieces_of(audio: str) -> list[tuple[str, float, float]]:
    """What was given to `joined`; empty where the audio of an utterance is one path."""
    return [tuple(one) for one in json.loads(audio.removeprefix(_PIECES))] if audio.startswith(_PIECES) else []


def files_of(audio: str) -> list[str]:
    """The files on disk that the audio of an utterance is read from: several where it is `joined`."""
    return [file_of(path) for path, *_ in pieces_of(audio)] or [file_of(audio)]


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
    with open_audio(path) as file:
        return _wave(path, file, start_s=start_s, duration_s=duration_s, resample=resample)


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

    Of a file of lossless audio at 16 kHz no more than these seconds are read; of a member of an archive, all its bytes. Of other
    audio the whole is decoded and cut: resampling, decoders of lossy formats and the roundings of joined pieces give other
    samples where they begin in the middle.

    Raises:
        ValueError: as `load_audio`.
    """
    first, number = round(first_s * SAMPLE_RATE_HZ), round(length_s * SAMPLE_RATE_HZ)
    if str(path).startswith(_PIECES):
        return load_audio(path, start_s=start_s, duration_s=duration_s, resample=resample)[first : first + number]
    with open_audio(path) as file:
        if file.samplerate != SAMPLE_RATE_HZ or not file.subtype.startswith(EXACT):
            wave_T = _wave(path, file, start_s=start_s, duration_s=duration_s, resample=resample)
            return wave_T[first : first + number]
        number = min(number, round(duration_s * SAMPLE_RATE_HZ) - first)
        start = round(start_s * SAMPLE_RATE_HZ) + first
        part_s = {"start_s": start / SAMPLE_RATE_HZ, "duration_s": number / SAMPLE_RATE_HZ}
        return _wave(path, file, **part_s, resample=resample)


def _wave(
    path: str | os.PathLike[str], file: SoundFile, *, start_s: float, duration_s: float | None, resample: bool
) -> np.ndarray:
    rate_hz = file.samplerate
    if rate_hz != SAMPLE_RATE_HZ and not resample:
        raise ValueError(wrong_rate(path, rate_hz=rate_hz))
    start = round(start_s * rate_hz)
    num_wanted = max(file.frames - start, 0) if duration_s is None else round(duration_s * rate_hz)
    samples_TC = read_samples(path, file, num_wanted, start=min(start, file.frames))
    if len(samples_TC) == 0 or len(samples_TC) < num_wanted - END_TOLERANCE_S * rate_hz:
        fault = (
            f"its segment begins at {start_s:.2f} s, behind the end of the file at {file.frames / rate_hz:.2f} s"
            if 0 < start >= file.frames
            else f"{num_wanted / rate_hz:.2f} s of audio were asked for from {start_s:.2f} s on, but only "
            f"{len(samples_TC) / rate_hz:.2f} s could be read"
        )
        raise AudioError(
            f"{path}: {fault}. The file is cut short or its segment is wrong: get it again or correct the segment, then prepare "
            "the data again (mlsuperb data prepare).",
            CUT_AUDIO,
        )
    refuse_beyond_scale(path, samples_TC)
    wave_T = samples_TC[:, 0] if samples_TC.shape[1] == 1 else samples_TC.mean(axis=1)
    return np.ascontiguousarray(wave_T if rate_hz == SAMPLE_RATE_HZ else _to_16_khz(wave_T, rate_hz=rate_hz))


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

    ratio = _ratio(rate_hz)
    return resample(torch.from_numpy(np.ascontiguousarray(wave_T)), ratio.denominator, ratio.numerator).numpy()


@lru_cache
def _ratio(rate_hz: int) -> Fraction:
    """New rate over old rate. torchaudio's kernel has as many taps as their product in lowest terms, so that of a rate that has
    hardly a factor in common with 16,000 the nearest ratio with a small kernel is taken (16,001 Hz: 1, 6e-5 off; 22,254 Hz: 3e-6
    off)."""
    exact = Fraction(SAMPLE_RATE_HZ, rate_hz)
    bound = 2**20
    nearest = exact
    while nearest.numerator * nearest.denominator > (_LARGEST_KERNEL if nearest == exact else _NEAREST_KERNEL):
        bound //= 2
        nearest = exact.limit_denominator(bound)
    return nearest
