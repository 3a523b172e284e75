"""The Omnilingual ASR corpus: 348 languages with little speech elsewhere (arXiv 2511.09690; `facebook/omnilingual-asr-corpus`).

A configuration per language and script (`sin_Sinh`), 274,000 utterances in all, answers to questions; 16 kHz, CC BY 4.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from mlsuperb.data.corpora.hf import HubData
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

_TAG = re.compile(r"<[^<>]{0,40}>")


@dataclass(kw_only=True)
class Omnilingual(HubData):
    """Reader of the corpus, or of a copy of some of its configurations.

    Args:
        tags: what becomes of marks such as `<laugh>` in transcripts, which are no speech. A transcript that holds nothing else is
            skipped as an empty one.

    All others are those of `HubData`.
    """

    dev: str | None = "dev"
    dataset: str | None = "omnilingual"
    tags: Literal["drop", "keep"] = "drop"

    def _rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for one in super()._rows(skipped):
            yield one if self.tags == "keep" else replace(one, text=" ".join(_TAG.sub(" ", one.text).split()))
