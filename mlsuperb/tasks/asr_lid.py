"""Joint recognition and language identification: the language token stands before the transcript."""

from __future__ import annotations

from typing import ClassVar

from mlsuperb.tasks.base import Task


class ASRLID(Task):
    """`[eng] HELLO WORLD`."""

    name: ClassVar[str] = "asr_lid"
    has_language: ClassVar[bool] = True
    has_text: ClassVar[bool] = True
