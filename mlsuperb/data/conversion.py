"""Audio that libsndfile cannot read (m4a, mp4, webm, ...), decoded by FFmpeg into a FLAC file of 16 kHz and 16 bits. Where there
are several channels, they are averaged here or when that file is read, since FFmpeg would weight them.

torchcodec is asked where it is installed, else the program `ffmpeg`. Neither is needed for what libsndfile reads.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from mlsuperb.data.audio_file import END_TOLERANCE_S
from mlsuperb.runtime.messages import one_line
from mlsuperb.types import SAMPLE_RATE_HZ

CONTAINERS = (
    ".m4a", ".mp4", ".m4b", ".mov", ".3gp", ".aac", ".webm", ".mkv", ".mka", ".wma", ".amr", ".mp2", ".ac3", ".avi",
)  # fmt: skip
REMEDY = (
    "convert it to WAV, FLAC or Ogg; or install FFmpeg, or torchcodec (pip install torchcodec), by which m4a, mp4, webm and "
    "others are read"
)
_BLOCK_S = 60.0


def convert(path: Path, out: Path) -> None:
    """Write the first audio stream of a file to `out`, a bounded part of it being in memory at a time.

    Raises:
        ValueError: there is nothing to decode it with, or it is no audio. The message is what follows the file's name.
    """
    decoder = _torchcodec(path)
    if decoder is not None:
        _by_torchcodec(decoder, out)
    elif program := shutil.which("ffmpeg"):
        _by_ffmpeg(program, path, out)
    else:
        raise ValueError(f"cannot be read as audio; {REMEDY}")


def _torchcodec(path: Path) -> Any:
    """torchcodec's decoder of a file; None where it is not installed, or without the libraries of FFmpeg that it needs."""
    try:
        from torchcodec.decoders import AudioDecoder

        return AudioDecoder(str(path), sample_rate=SAMPLE_RATE_HZ)
    except (ImportError, OSError):
        return None
    except (RuntimeError, ValueError) as error:
        if "libtorchcodec" in str(error):  # loaded with the first file in some versions, with the module in others
            return None
        raise ValueError(_unreadable(error)) from error


def _by_torchcodec(decoder: Any, out: Path) -> None:
    end_s = decoder.metadata.duration_seconds  # None: a browser's recording does not say
    if end_s is not None:
        end_s += decoder.metadata.begin_stream_seconds or 0.0
    start_s = 0.0
    with soundfile.SoundFile(out, "w", SAMPLE_RATE_HZ, 1, "PCM_16", format="FLAC") as file:
        while end_s is None or start_s < end_s:
            stop_s = start_s + _BLOCK_S if end_s is None else min(start_s + _BLOCK_S, end_s)
            try:
                samples_T = decoder.get_samples_played_in_range(start_s, stop_s).data.mean(0).numpy()
            except (RuntimeError, ValueError) as error:
                if start_s and (end_s is None or end_s - start_s < END_TOLERANCE_S):
                    break  # the last packet ended before
                raise ValueError(_unreadable(error)) from error
            file.write(np.clip(samples_T, -1.0, 1.0))
            if end_s is None and len(samples_T) < (_BLOCK_S - END_TOLERANCE_S) * SAMPLE_RATE_HZ:
                break
            start_s = stop_s


def _by_ffmpeg(program: str, path: Path, out: Path) -> None:
    # file: and the whitelist keep a name, or a playlist in disguise, from being followed to somewhere else
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file", "-i", f"file:{path}", "-map", "0:a:0"]
    command += ["-ar", str(SAMPLE_RATE_HZ), "-sample_fmt", "s16", "-f", "flac", "-y", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise ValueError(_unreadable(ValueError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "")))


def _unreadable(error: Exception) -> str:
    said = one_line(error)[:200]
    return f"cannot be read as audio, not even by FFmpeg{f' ({said})' if said else ''}; convert it to WAV, FLAC or Ogg"
