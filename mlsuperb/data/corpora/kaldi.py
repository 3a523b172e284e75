"""Kaldi and ESPnet data folders:

<root>/train/wav.scp     recording (or utterance) and a path; commands (`... |`) and archives (`x.ark:12[0:99]`) are refused
<root>/train/segments    utterance, recording, start and end in seconds; where recordings are longer than utterances
<root>/train/text        utterance and its words; may lack utterances, or be missing, with `text: optional`
<root>/train/utt2lang    utterance and its language; not needed where `language` is set
<root>/train/utt2spk     utterance and its speaker; not needed
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsuperb.data.corpora.base import TO_THE_END_S, folder_problems
from mlsuperb.data.corpora.own import OwnCorpus
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.lines import read_lines, read_pairs, unique
from mlsuperb.types import Utterance

NO_TRANSCRIPT = "no line in text"
NO_AUDIO = "no line in wav.scp or segments"

FILES = ("wav.scp", "segments", "text", "utt2lang", "utt2spk")
_ARCHIVE = re.compile(r"\.ark(:\d+)?(\[[\d:,]*\])?$")


@dataclass(kw_only=True)
class Kaldi(OwnCorpus):
    """Reader of Kaldi data folders.

    Args:
        root: the folder that holds the folders of the splits.
        train: folder of the training split, in `root`. Null: there is none; likewise `dev` and `test`.
        dev: folder of the validation split.
        test: folder of the test split.
        dataset: the dataset's name in tables.
        language: the language of all utterances; null reads utt2lang.
        audio_root: where relative paths in wav.scp begin; in Kaldi that is the folder a recipe is started in.
    """

    root: str
    train: str | None = "train"
    dev: str | None = "dev"
    test: str | None = "test"
    dataset: str = "kaldi"
    language: str | None = None
    audio_root: str = "."

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found, root = super().problems(**settings), settings.get("root")
        remedy = "Give the folder that holds train/, dev/ and test/."
        if bad_root := folder_problems(root, setting="data.root", remedy=remedy):
            return found + bad_root
        for split in ("train", "dev", "test"):
            name = settings.get(split)
            if name is not None and not (folder := Path(str(root)) / name).joinpath("wav.scp").is_file():
                found.append(f"data.{split}={name}: {folder} has no wav.scp. Give the folder's name, or null.")
        return found

    def sources(self) -> list[Path]:
        return [folder / name for _, folder in self._folders() for name in FILES]

    def _rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for split, folder in self._folders():
            yield from self._split(split, folder, skipped)

    def _folders(self) -> list[tuple[str, Path]]:
        return [(split, Path(self.root, name)) for split, name in self._split_paths()]

    def _split(self, split: str, folder: Path, skipped: SkipReport) -> Iterator[Utterance]:
        optional = self.text == "optional"
        texts = _table(folder, "text", optional=optional)
        languages = {} if self.language else _table(folder, "utt2lang")
        speakers = _table(folder, "utt2spk", optional=True)
        places = _places(folder, self.audio_root)
        for utterance_id in sorted(texts.keys() - places.keys()):
            skipped.add(NO_AUDIO, utterance_id, split=split)
        for utterance_id, (audio, start_s, duration_s) in places.items():
            if utterance_id not in texts and not optional:
                skipped.add(NO_TRANSCRIPT, utterance_id, split=split)
                continue
            if not self.language and utterance_id not in languages:
                raise ValueError(
                    f"{folder / 'utt2lang'} has no line for {utterance_id}. Add one, or set data.language if the whole "
                    "corpus is in one language."
                )
            yield Utterance(
                id=utterance_id,
                audio=audio,
                start_s=start_s,
                duration_s=duration_s,
                text=texts.get(utterance_id, ""),
                language=self.language or languages[utterance_id],
                dataset=self.dataset,
                split=split,
                speaker=speakers.get(utterance_id, ""),
            )


def _places(folder: Path, audio_root: str) -> dict[str, tuple[str, float, float]]:
    """(path, start, duration) of every utterance, in the order of segments, or of wav.scp where there are none."""
    recordings = _table(folder, "wav.scp")
    for recording, place in recordings.items():
        if place.endswith("|") or _ARCHIVE.search(place) or not place:
            raise ValueError(
                f"{folder / 'wav.scp'}: {recording} is {place!r}, not the path of an audio file. Commands "
                "and archives are not read: write the audio out as files first (ESPnet: format_wav_scp.sh; Kaldi: "
                "wav-copy) and name those."
            )
    paths = {recording: os.path.abspath(os.path.join(audio_root, place)) for recording, place in recordings.items()}
    segments = folder / "segments"
    if not segments.is_file():
        return {recording: (path, 0.0, TO_THE_END_S) for recording, path in paths.items()}
    return unique(_segments(segments, paths), path=segments)


def _segments(path: Path, recordings: dict[str, str]) -> Iterator[tuple[str, tuple[str, float, float]]]:
    for number, line in read_lines(path):
        if not line:
            continue
        try:
            utterance_id, recording, start, end = line.split()
            start_s, end_s = float(start), float(end)
            if not (math.isfinite(start_s) and math.isfinite(end_s)):
                raise ValueError
        except ValueError:
            raise ValueError(
                f"{path}, line {number}: {line!r} is not `utterance recording start end`. Mend it."
            ) from None
        if recording not in recordings:
            raise ValueError(f"{path}, line {number}: recording {recording} has no line in wav.scp. Add it.")
        # Kaldi: an end of -1 is the end of the recording
        yield utterance_id, (recordings[recording], start_s, TO_THE_END_S if end_s == -1 else end_s - start_s)


def _table(folder: Path, name: str, *, optional: bool = False) -> dict[str, str]:
    path = folder / name
    if not path.is_file():
        if optional:
            return {}
        remedy = " or set data.language if the whole corpus is in one language" if name == "utt2lang" else ""
        raise ValueError(f"{path} is missing. Add it{remedy}.")
    return unique(read_pairs(path), path=path)
