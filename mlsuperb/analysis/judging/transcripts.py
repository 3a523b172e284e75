"""Transcripts of clips by an ASR model, kept as they come, so that a killed call goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlsuperb.analysis.judging.asr import Recogniser
from mlsuperb.analysis.judging.inputs import Clip
from mlsuperb.runtime.files import no_link, write_atomic

log = logging.getLogger(__name__)

TRANSCRIPTS = "transcripts.jsonl"
# wraps steps as they are done: their number, what they are
Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]


class Transcripts:
    """The transcripts known so far: by ASR model, language and audio. The audio is known by its samples, not by its name, so that
    what was synthesised anew is transcribed anew and equal audio of two systems once.

    Args:
        path: the file they are kept in, one JSON object per line; None keeps them in memory alone.
    """

    def __init__(self, path: Path | None, *, record: Mapping[str, Any]) -> None:
        self._path, self._record = path, json.dumps(record, sort_keys=True)
        self._texts: dict[str, str] = {}
        if path is not None and path.is_file():
            self._read(path)

    def key(self, wave_T: np.ndarray, *, language: str) -> str:
        """What a transcript is found by."""
        digest = hashlib.sha256(f"{self._record}\n{language}\n".encode())
        digest.update(np.ascontiguousarray(wave_T, np.float32).tobytes())
        return digest.hexdigest()

    def __contains__(self, key: str) -> bool:
        return key in self._texts

    def __getitem__(self, key: str) -> str:
        return self._texts[key]

    def add(self, texts: Mapping[str, str]) -> None:
        """Keep more of them; they are on the disk when this returns.

        Raises:
            OSError: the file cannot be written.
        """
        self._texts.update(texts)
        if self._path is not None:
            with open(self._path, "a", encoding="utf-8", opener=no_link) as file:
                file.writelines(
                    json.dumps({"key": key, "text": text}, ensure_ascii=False) + "\n" for key, text in texts.items()
                )

    def _read(self, path: Path) -> None:
        whole = path.read_text(encoding="utf-8", errors="replace")
        lines, _, torn = whole.rpartition("\n")
        if torn:
            log.info("%s: its last line was cut off when a call was killed; that transcript is made again", path)
            write_atomic(path, [f"{lines}\n" if lines else ""])
        for number, line in enumerate(lines.split("\n") if lines else [], start=1):
            try:
                row = json.loads(line)
                self._texts[row["key"]] = row["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number} is no transcript ({error}); delete the file to make all anew"
                ) from error


def transcribe(
    clips: Sequence[Clip],
    languages: Sequence[str],
    recogniser: Recogniser,
    known: Transcripts,
    *,
    progress: Progress,
) -> list[str]:
    """The transcript of each clip, of which only those that are not known are made: language by language, since some models are
    set up for one, and the longest first, so that utterances of like length are padded together.

    Raises:
        ValueError: audio cannot be read.
    """
    lengths = {}
    keys = []
    for place, (clip, language) in enumerate(zip(clips, languages, strict=True)):
        wave_T = clip.wave()
        keys.append(known.key(wave_T, language=language))
        lengths[keys[-1]] = (language, -len(wave_T), place)
    missing = sorted((where for key, where in lengths.items() if key not in known))
    batches = list(_batches(missing, recogniser.batch_size))
    if len(missing) < len(lengths):
        log.info("%d of %d clips were transcribed before", len(lengths) - len(missing), len(lengths))
    for places in progress(batches, len(batches), "transcribe"):
        language = languages[places[0]]
        texts = recogniser.texts([clips[place].wave() for place in places], language=language)
        known.add({keys[place]: text for place, text in zip(places, texts, strict=True)})
    return [known[key] for key in keys]


def _batches(ordered: Sequence[tuple[str, int, int]], size: int) -> Iterator[list[int]]:
    """Places of clips, at most `size` of one language at a time."""
    batch: list[int] = []
    before = ""
    for language, _, place in ordered:
        if batch and (language != before or len(batch) == size):
            yield batch
            batch = []
        batch.append(place)
        before = language
    if batch:
        yield batch
