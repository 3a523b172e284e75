"""The result of job=translation; reading it needs no torch."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from mlsuperb.scoring.result import BenchmarkResult


class TranslationResult(BenchmarkResult):
    """Of job `translation`: as of a benchmark run, where `upstream` is the model.

    Attributes:
        train_on: `speech`, `text`, or both.
        text: the parallel text: name, splits, directions, what was skipped.
        start: what an earlier run had trained.
        scores: of validation: nats for each target token of speech and of text, bits per character of text.
    """

    kind: ClassVar[str] = "translation"

    train_on: list[str]
    text: dict[str, Any] = Field(default_factory=dict)
    start: dict[str, Any] | None = None
    scores: dict[str, Any] = Field(default_factory=dict)
