"""LibriSpeech (openslr.org/12), as its archives unpack, and what is laid out like it:

<root>/train-clean-100/<speaker>/<chapter>/<speaker>-<chapter>.trans.txt      utterance id, text
<root>/train-clean-100/<speaker>/<chapter>/<utterance id>.flac
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import PositiveFloat

from mlsuperb.data.corpora.base import TO_THE_END_S, Corpus, folder_problems
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.lines import read_pairs
from mlsuperb.types import Utterance

NO_PART = "part that is not in the folder"
TRAIN = ["train-clean-100", "train-clean-360", "train-other-500"]


@dataclass(kw_only=True)
class LibriSpeech(Corpus):
    """Reader of LibriSpeech.

    Args:
        root: the folder that holds `train-clean-100` and the like, or whose folder `LibriSpeech` does.
        train: the parts to train on; those that are not there are counted.
        dev: the parts to validate on.
        test: the parts to test on.
        language: of all of it.
        dataset: its name in tables.
        max_duration_s: as in all corpora, but by default all of its utterances are taken, which last up to 35 s.
    """

    root: str
    train: list[str] = field(default_factory=lambda: list(TRAIN))
    dev: list[str] = field(default_factory=lambda: ["dev-clean"])
    test: list[str] = field(default_factory=lambda: ["test-clean"])
    language: str = "eng"
    dataset: str = "librispeech"
    max_duration_s: PositiveFloat = 40.0

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found, root = super().problems(**settings), settings.get("root")
        remedy = "Give the folder that holds train-clean-100, dev-clean and the like."
        if bad_root := folder_problems(root, setting="data.root", remedy=remedy):
            return found + bad_root
        parts = [part for split in ("train", "dev", "test") for part in settings.get(split) or ()]
        if not any((base_folder(Path(str(root))) / part).is_dir() for part in parts):
            found.append(f"data.root={root} holds none of {', '.join(parts)}. {remedy}")
        return found

    def sources(self) -> list[Path]:
        base = base_folder(Path(self.root))
        folders = [base / part for part in (*self.train, *self.dev, *self.test)]
        return [*folders, *(path for folder in folders for path in sorted(folder.glob("*/*/*.trans.txt")))]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        base = base_folder(Path(self.root))
        for split, parts in (("train", self.train), ("dev", self.dev), ("test", self.test)):
            for part in parts:
                if not (base / part).is_dir():
                    skipped.add(NO_PART, part, split=split)
                for transcripts in sorted((base / part).glob("*/*/*.trans.txt")):
                    yield from self._chapter(transcripts, split)

    def _chapter(self, transcripts: Path, split: str) -> Iterator[Utterance]:
        folder = os.path.abspath(transcripts.parent)
        for utterance_id, text in read_pairs(transcripts):
            yield Utterance(
                id=utterance_id,
                audio=os.path.join(folder, f"{utterance_id}.flac"),
                start_s=0.0,
                duration_s=TO_THE_END_S,
                text=text,
                language=self.language,
                dataset=self.dataset,
                split=split,
                speaker=transcripts.parent.parent.name,
            )


def base_folder(root: Path) -> Path:
    return root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
