"""Multilingual LibriSpeech (arXiv 2012.03411), as its archives (openslr.org/94) unpack:

<root>/mls_german/train/transcripts.txt                          utterance id, tab, text
<root>/mls_german/train/audio/<speaker>/<book>/<utterance id>.flac    the id is <speaker>_<book>_<number>
<root>/mls_german/dev/..., <root>/mls_german/test/...            likewise
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlsuperb.data.corpora.base import TO_THE_END_S, Corpus, folder_problems
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.lines import read_pairs
from mlsuperb.types import Utterance

DATASET, SPLITS = "mls", ("train", "dev", "test")
LANGUAGES = {
    "dutch": "nld",
    "english": "eng",
    "french": "fra",
    "german": "deu",
    "italian": "ita",
    "polish": "pol",
    "portuguese": "por",
    "spanish": "spa",
}
STRAY = "folder of a language that MLS does not have"
NO_TRANSCRIPTS = "missing transcripts.txt"
NO_TEXT = "transcript line without text"


@dataclass(kw_only=True)
class MLS(Corpus):
    """Reader of Multilingual LibriSpeech: of those of its eight languages that are in the folder.

    Args:
        root: the folder that holds `mls_german` and the like.
        suffix: of the audio files; `.opus` reads the compressed archives, `mls_german_opus`.
    """

    root: str
    suffix: Literal[".flac", ".opus"] = ".flac"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found = super().problems(**settings)
        remedy = "Give the folder that holds mls_german and the like."
        if bad_root := folder_problems(settings.get("root"), setting="data.root", remedy=remedy):
            return found + bad_root
        if not any(Path(settings["root"]).glob("mls_*")):
            found.append(f"data.root={settings['root']} holds no folder mls_LANGUAGE. {remedy}")
        return found

    def sources(self) -> list[Path]:
        transcripts = [folder / split / "transcripts.txt" for folder in self._folders() for split in SPLITS]
        return [Path(self.root), *transcripts]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for folder in self._folders():
            # None of folders such as `mls_lm_german`
            language = LANGUAGES.get(folder.name.removeprefix("mls_").removesuffix("_opus"))
            if language is None:
                skipped.add(STRAY, folder.name)
            elif self.wants(language, DATASET):
                for split in SPLITS:
                    yield from self._split(folder / split, language, skipped)

    def _folders(self) -> list[Path]:
        return sorted(path for path in Path(self.root).glob("mls_*") if path.is_dir())

    def _split(self, folder: Path, language: str, skipped: SkipReport) -> Iterator[Utterance]:
        transcripts = folder / "transcripts.txt"
        if not transcripts.is_file():
            skipped.add(NO_TRANSCRIPTS, f"{folder.parent.name}/{folder.name}", split=folder.name)
            return
        audio = os.path.abspath(folder / "audio")
        for utterance_id, text in read_pairs(transcripts):
            if not text:
                skipped.add(NO_TEXT, utterance_id, split=folder.name)
                continue
            speaker, book = _speaker_and_book(utterance_id, transcripts)
            yield Utterance(
                id=f"{language}_{utterance_id}",
                audio=os.path.join(audio, speaker, book, f"{utterance_id}{self.suffix}"),
                start_s=0.0,
                duration_s=TO_THE_END_S,
                text=text,
                language=language,
                dataset=DATASET,
                split=folder.name,
                speaker=speaker,
            )


def _speaker_and_book(utterance_id: str, transcripts: Path) -> tuple[str, str]:
    parts = utterance_id.split("_")
    if len(parts) != 3:
        raise ValueError(
            f"{transcripts}: {utterance_id!r} is not <speaker>_<book>_<number>, so its audio cannot be found. Correct "
            "the line, or unpack the archive again."
        )
    return parts[0], parts[1]
