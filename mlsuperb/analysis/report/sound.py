"""Audio inside a page: small, and playable everywhere.

MP3, since Chromium, Firefox and Safari all play it (Safari learned Ogg Vorbis and Opus only lately); at 16 kHz mono
libsndfile's encoder (LAME) gives about 4 kB a second with its default settings.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile

from mlsuperb.data.audio import files_of, load_audio
from mlsuperb.types import SAMPLE_RATE_HZ

MAX_S = 20.0  # of one utterance
MAX_BYTES = 6_000_000  # of one page, before base64 adds a third


class SoundBox:
    """Encodes utterances until `max_num` of them or `MAX_BYTES` are in the page; says of each other one why it is not.

    Args:
        max_num: utterances, at most.
        roots: folders from which sound may come. A page is made to be passed on, and the hypotheses of somebody else may name
            any file of the reader. None: from anywhere, where the reader named the files.
    """

    def __init__(self, *, max_num: int, roots: Sequence[Path] | None = None) -> None:
        self.max_num = max_num
        self.roots = None if roots is None else {root: Path(os.path.realpath(root)) for root in roots}
        self.inside: set[tuple[str, float, float]] = set()  # what is in the page
        self.outside: set[tuple[str, float, float]] = set()  # what is counted as not in it
        self.sources: dict[str, int] = {}  # root -> utterances from there
        self.num, self.num_bytes, self.num_refused, self.num_gone, self.num_cut, self.num_outside = 0, 0, 0, 0, 0, 0

    def add(self, audio: str, *, start_s: float, duration_s: float) -> tuple[str, str]:
        """A data URI and a remark; without the first, the second says why, and where the audio lies."""
        if (key := (audio, start_s, duration_s)) in self.inside:
            return "", "Its audio stands with this utterance elsewhere on the page."
        new = key not in self.outside
        self.outside.add(key)
        if self.num >= self.max_num or self.num_bytes >= MAX_BYTES:
            self.num_refused += new
            where = f"{self.file(audio)}, {start_s:.2f} to {start_s + duration_s:.2f} s"
            return "", f"Not in the page, to keep it small; the audio: {where}."
        found = None if self.roots is None else _root_of(audio, self.roots)
        if self.roots is not None and found is None:
            self.num_outside += new
            return "", "No audio: the file lies outside of the run's data."
        try:
            wave_T = load_audio(audio, start_s=start_s, duration_s=min(duration_s, MAX_S))
        except (ValueError, OSError):
            self.num_gone += new
            return "", "No audio: the file is gone or cannot be read."
        buffer = io.BytesIO()
        soundfile.write(buffer, wave_T, SAMPLE_RATE_HZ, format="MP3", subtype="MPEG_LAYER_III")
        data = buffer.getvalue()
        self.inside.add(key)
        self.inside.add(key)
        self.num, self.num_bytes = self.num + 1, self.num_bytes + len(data)
        if found is not None:
            self.sources[str(found)] = self.sources.get(str(found), 0) + 1
        cut = duration_s > MAX_S
        self.num_cut += cut
        remark = f"The first {MAX_S:.0f} of {duration_s:.0f} s." if cut else ""
        return f"data:audio/mpeg;base64,{base64.b64encode(data).decode('ascii')}", remark

    def file(self, audio: str) -> str:
        """The file of some audio for people: below the folder of data that it lies in, or else its bare name."""
        try:
            first, *others = files_of(audio)
        except (ValueError, TypeError, LookupError):
            return "not known"
        root = next((root for root in self.roots or () if Path(first).is_relative_to(root)), None)
        path = Path(first).relative_to(root).as_posix() if root else Path(first).name
        return path + (f" and {len(others)} more" if others else "")

    def summary(self) -> str:
        """How much audio is in the page, and how much is not and why."""
        parts = [f"{self.num} utterance{'s' if self.num != 1 else ''} with audio ({self.num_bytes / 1e6:.1f} MB, MP3)"]
        if self.num_refused:
            limit = f"at most {self.max_num} and {MAX_BYTES / 1e6:.0f} MB"
            parts.append(f"{self.num_refused} without, to keep the page small ({limit}; --max-audio)")
        if self.num_gone:
            parts.append(f"{self.num_gone} whose audio is gone or cannot be read")
        if self.num_cut:
            parts.append(f"{self.num_cut} cut to {MAX_S:.0f} s")
        if self.num_outside:
            parts.append(
                f"{self.num_outside} whose audio lies outside of the run's data, of which nothing is taken unasked (--audio-root "
                "DIR names a folder from which it may come)"
            )
        if self.sources:
            parts.append("their sound came from " + ", ".join(f"{root} ({num})" for root, num in self.sources.items()))
        return "; ".join(parts) + "."


def audio_roots(data: Mapping[str, Any]) -> list[Path]:
    """The folders in which the corpus of a configuration (`data`) has its audio: its `root` and the like, or those of its tables.
    Folders that hold everything that somebody has are none: `/`, the home folder and those above it."""
    home = Path.home()
    return [root for root in dict.fromkeys(_named_roots(data)) if not home.is_relative_to(os.path.realpath(root))]


def _named_roots(data: Mapping[str, Any]) -> Iterator[Path]:
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _named_roots(value)
        elif name in ("root", "audio_folder", "audio_root") and isinstance(value, str) and value not in ("", "."):
            yield Path(value)
        elif name == "path" and isinstance(value, str) and os.path.exists(value):  # else it is a data set of the hub
            yield Path(value) if os.path.isdir(value) else Path(value).parent
        elif (
            name in ("train", "dev", "test") and isinstance(value, str) and "root" not in data and not data.get("path")
        ):
            yield Path(value).parent


def _root_of(audio: str, roots: Mapping[Path, Path]) -> Path | None:
    """The root that all files of an utterance's audio lie in, wherever links lead; None where there is none."""
    try:
        files = [os.path.realpath(file) for file in files_of(audio)]
    except (ValueError, TypeError, LookupError):
        return None
    return next((root for root, real in roots.items() if all(Path(file).is_relative_to(real) for file in files)), None)
