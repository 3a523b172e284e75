"""What a user names as audio to read: files, folders, standard input, formats that libsndfile does not know."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlsuperb.data.audio_file import (
    END_TOLERANCE_S,
    EXTENSIONS,
    UNREADABLE_AUDIO,
    AudioError,
    AudioInfo,
    audio_info,
)
from mlsuperb.data.conversion import CONTAINERS, convert
from mlsuperb.runtime.messages import some

log = logging.getLogger(__name__)

STDIN = Path("-")


def expanded(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """The files that `paths` name, each with its place in what was named: a file's name, or the path below the folder. Of a
    folder, that is every file in it and in folders below with the extension of an audio format, sorted; a line of the log says
    how many others there are.

    Raises:
        ValueError: a folder holds no audio, or standard input is named twice.
    """
    if list(paths).count(STDIN) > 1:
        raise ValueError("- stands for standard input, which can be read once: name it once")
    for path in paths:
        if not path.is_dir():
            yield path, Path(path.name)
            continue
        files = sorted(Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        audio = [file for file in files if file.suffix.lower() in (*EXTENSIONS, *CONTAINERS)]
        others = [
            str(file.relative_to(path)) for file in files if file.suffix.lower() not in (*EXTENSIONS, *CONTAINERS)
        ]
        if not audio:
            raise ValueError(
                f"{path}: none of its {len(files):,} files has the extension of an audio format; name the files instead, if they "
                "are audio all the same"
            )
        if others:
            log.warning("%s: %d of %d files are no audio (%s)", path, len(others), len(files), some(others))
        yield from ((file, file.relative_to(path)) for file in audio)


def readable(path: Path, folder: Path) -> tuple[Path, float]:
    """A file that libsndfile reads to its end with the audio of `path`, and its length in seconds: `path` itself, or a converted
    copy in `folder`; of standard input (`-`), the bytes of an audio file, a copy.

    Raises:
        ValueError: it cannot be read.
    """
    name, source = path, path
    if path == STDIN:
        name, source = Path("standard input"), folder / "stdin"
        with open(source, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    try:
        info = audio_info(source, decode=True)  # a header says nothing of what follows it
    except AudioError as error:
        if error.fault != UNREADABLE_AUDIO:
            raise ValueError(_said_of(name, source, str(error))) from error
        converted = folder / f"{len(os.listdir(folder))}.flac"
        try:
            convert(source, converted)
            source, info = converted, audio_info(converted)
        except ValueError as other:
            raise ValueError(f"{name}: {other}") from other
    return source, _length_s(name, info)


def _said_of(name: Path, source: Path, message: str) -> str:
    if not source.is_file():
        return f"{name}: there is no such file"
    return message.replace(str(source), str(name))


def _length_s(name: Path, info: AudioInfo) -> float:
    if not info.num_samples:
        raise ValueError(f"{name}: the file holds no audio, its length is 0 s")
    if info.missing_s > END_TOLERANCE_S:
        log.warning("%s: %s What there is of it is transcribed.", name, info.cut_short)
    return info.duration_s
