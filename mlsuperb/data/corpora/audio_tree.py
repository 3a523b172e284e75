"""Untranscribed speech in folders, for pre-training:

<root>/<dataset>/<language>/wav/<file>.ogg              any file that libsndfile knows by content (`audio_file.EXTENSIONS`)
<root>/<dataset>/<language>/<file>.ogg                  the `wav` folder may be left out
<root>/<dataset>/<language>/wav/<speaker>/.../<file>    the first folder below, if there is one, names the speaker
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveFloat

from mlsuperb.data.audio_file import EXTENSIONS
from mlsuperb.data.corpora.base import TO_THE_END_S, Corpus, folder_problems
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.lines import is_text
from mlsuperb.types import Utterance

NO_AUDIO = "file without the extension of an audio format"
NOT_UTF8 = "file name that is not UTF-8"
MISPLACED = "audio file outside <dataset>/<language>/"


@dataclass(kw_only=True)
class AudioTree(Corpus):
    """Reader of every audio file of a tree as one training utterance without a transcript; dataset and language are the
    names of the folders, and an id is the path in the tree. Transcripts in the tree are not read: of a labelled corpus this
    takes its test utterances, too, so that such a tree is better read by its own reader with `text: optional`.

    Args:
        root: the folder that holds the dataset folders.
        max_duration_s: as in all corpora, but 30 s by default, which is the limit of mHuBERT-147's data.
    """

    root: str
    max_duration_s: PositiveFloat = 30.0
    text: Literal["required", "optional"] = field(default="optional", init=False)  # there are no transcripts to require

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found, root = super().problems(**settings), settings.get("root")
        remedy = "Give the folder that holds <dataset>/<language>/."
        if bad_root := folder_problems(root, setting="data.root", remedy=remedy):
            return found + bad_root
        if not any(path.is_dir() for path in Path(str(root)).glob("*/*")):
            found.append(f"data.root={root} holds no folder <dataset>/<language>. {remedy}")
        return found

    def sources(self) -> list[Path]:
        """Every folder: its time changes with the files in it."""
        return [Path(folder) for folder, _, _ in self._folders()]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for folder, parts, names in self._folders():
            for name in names:
                utterance_id = "/".join((*parts, name))
                if not is_text(utterance_id):
                    skipped.add(NOT_UTF8, os.fsencode(utterance_id).decode(errors="replace"))
                elif os.path.splitext(name)[1].lower() not in EXTENSIONS:
                    skipped.add(NO_AUDIO, utterance_id)
                elif len(parts) < 2:
                    skipped.add(MISPLACED, utterance_id)
                else:
                    below = parts[3:] if parts[2:3] == ("wav",) else parts[2:]
                    yield Utterance(
                        id=utterance_id,
                        audio=os.path.join(folder, name),
                        start_s=0.0,
                        duration_s=TO_THE_END_S,
                        text="",
                        language=parts[1],
                        dataset=parts[0],
                        split="train",
                        speaker="".join(below[:1]),
                    )

    def _folders(self) -> Iterator[tuple[str, tuple[str, ...], list[str]]]:
        """(path, its parts below `root`, names of its files) of every folder that is not of an unwanted pair, in a fixed
        order."""
        root = os.path.abspath(self.root)
        for folder, inner, names in os.walk(root, followlinks=True):  # data sets are often linked into a tree
            parts = Path(folder).relative_to(root).parts
            if len(parts) == 2 and not self.wants(language=parts[1], dataset=parts[0]):
                inner.clear()
                continue
            inner.sort()
            yield folder, parts, sorted(names)
