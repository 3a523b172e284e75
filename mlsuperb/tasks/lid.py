"""Language identification: the target is the language token alone."""

from __future__ import annotations

from typing import ClassVar

from mlsuperb.tasks.base import Task


class LID(Task):
    """`[eng]`. ML-SUPERB trains it with CTC over this one token; an utterance classifier serves as well."""

    name: ClassVar[str] = "lid"
    has_language: ClassVar[bool] = True
    has_text: ClassVar[bool] = False
