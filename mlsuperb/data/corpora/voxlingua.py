"""VoxLingua107 (arXiv 2011.12998): clips of videos in 107 languages, without transcripts, as its archives unpack:

<root>/de/<video>__U__S0---0123.450-0134.560.wav       to train on
<root>/dev/de/...                                      its evaluation set
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import PositiveFloat

from mlsuperb.data.audio_file import EXTENSIONS
from mlsuperb.data.corpora.base import TO_THE_END_S, folder_problems
from mlsuperb.data.corpora.own import OwnCorpus
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

DATASET, DEV = "voxlingua107", "dev"
NO_AUDIO = "file without the extension of an audio format"


@dataclass(kw_only=True)
class VoxLingua(OwnCorpus):
    """Reader of VoxLingua107, for identification of languages (`task=lid`): of those of its languages that are in the folder.

    Its folder `dev` is what results are published on, and becomes test; dev is held out of the training data (`held_out`), whole
    videos at a time.

    Args:
        root: the folder that holds `de`, `dev` and the like.
        text: there is none.
        max_duration_s: as in all corpora, but by default all of its clips are taken, which last up to 20 s.
    """

    special_codes: ClassVar[Mapping[str, str]] = {"iw": "heb", "jw": "jav"}  # two codes that ISO 639-1 has withdrawn

    root: str
    max_duration_s: PositiveFloat = 20.1
    text: Literal["required", "optional"] = "optional"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found, root = super().problems(**settings), settings.get("root")
        remedy = "Give the folder that holds a folder for each language (de, ...), and dev."
        if bad_root := folder_problems(root, setting="data.root", remedy=remedy):
            return found + bad_root
        if not languages(Path(str(root))):
            found.append(f"data.root={root} holds no folder of a language. {remedy}")
        return found

    def sources(self) -> list[Path]:
        """Every folder: its time changes with the files in it."""
        return [Path(self.root), *(folder for _, folder in self._folders())]

    def _folders(self) -> list[tuple[str, Path]]:
        root = Path(self.root)
        listed = [("train", folder) for folder in languages(root)]
        listed += [("test", folder) for folder in (languages(root / DEV) if (root / DEV).is_dir() else [])]
        return [(split, folder) for split, folder in listed if self.wants(self.code(folder.name), DATASET)]

    def _rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for split, folder in self._folders():
            for name in sorted(os.listdir(folder)):
                row_id = f"{folder.name}/{name}"
                if os.path.splitext(name)[1].lower() not in EXTENSIONS:
                    skipped.add(NO_AUDIO, row_id, split=split)
                    continue
                yield Utterance(
                    id=row_id,
                    audio=os.path.join(os.path.abspath(folder), name),
                    start_s=0.0,
                    duration_s=TO_THE_END_S,
                    text="",
                    language=folder.name,
                    dataset=DATASET,
                    split=split,
                    speaker=name.partition("__U__")[0],
                )


def languages(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name != DEV)
