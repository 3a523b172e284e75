"""Speech recognition: the target is the transcript."""

from __future__ import annotations

from typing import ClassVar

from mlsuperb.tasks.base import Task


class ASR(Task):
    """`HELLO WORLD`."""

    name: ClassVar[str] = "asr"
    has_language: ClassVar[bool] = False
    has_text: ClassVar[bool] = True
