"""Small folders of Shar, written without lhotse: two archives of audio and cuts, as its documentation describes the format."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from mlsuperb.types import Utterance


def wave_of(name: str, duration_s: float) -> np.ndarray:
    """A noise of 16-bit samples (T,) that is the same for the same name."""
    rng = np.random.default_rng(sum(name.encode()))
    return (2000 * rng.standard_normal(round(16_000 * duration_s))).astype(np.int16)


def row(name: str, **changes: object) -> Utterance:
    """An utterance whose audio is not written yet."""
    usual = {
        "audio": "", "start_s": 0.0, "duration_s": 1.0, "text": f"text of {name}", "language": "deu", "dataset": "a",
        "split": "train", "speaker": "s",
    }  # fmt: skip
    return Utterance(id=name, **{**usual, **changes})  # type: ignore[arg-type]


def write_shar(folder: Path, shards: Sequence[Sequence[Utterance]], *, silent: Sequence[str] = ()) -> Path:
    """Write the rows of one split as Shar; those in `silent` without audio."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(shards):
        with tarfile.open(folder / f"recording.{number:06d}.tar", "w") as tar:
            for one in rows:
                audio = io.BytesIO()
                soundfile.write(audio, wave_of(one.id, one.duration_s), 16_000, format="FLAC")
                bare = one.id in silent
                _add(tar, f"{one.id}.{'nodata' if bare else 'flac'}", b"" if bare else audio.getvalue())
                _add(tar, f"{one.id}.{'nometa' if bare else 'json'}", b"" if bare else b"{}\n")
        with gzip.open(folder / f"cuts.{number:06d}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(_cut(one)) + "\n" for one in rows)
    return folder


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    item = tarfile.TarInfo(name)
    item.size = len(content)
    tar.addfile(item, io.BytesIO(content))


def _cut(one: Utterance) -> dict[str, object]:
    said = {
        "id": one.id, "recording_id": one.id, "start": 0.0, "duration": one.duration_s, "text": one.text,
        "language": one.language, "speaker": one.speaker,
    }  # fmt: skip
    return {
        "id": one.id, "start": 0.0, "duration": one.duration_s, "channel": 0, "supervisions": [said],
        "custom": {"dataset": one.dataset}, "type": "MonoCut",
    }  # fmt: skip
