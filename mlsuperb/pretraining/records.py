"""What a finished pre-training says of itself."""

from __future__ import annotations

from typing import Any, ClassVar

from mlsuperb.runs.result import Result


class PretrainingResult(Result):
    """A result of job=pretrain.

    Attributes:
        upstream: name, settings and record of what was trained.
        data: the corpus, as in the result of the labels; `languages` and hours are what was trained on.
        targets: what the labels are.
        scores: of the validation utterances with the final weights: in all, and by language.
        num_trainable: parameters, the head's included.
        checkpoint: folder of the model, in the run's.
    """

    kind: ClassVar[str] = "pretrain"

    upstream: dict[str, Any]
    data: dict[str, Any]
    targets: dict[str, Any]
    scores: dict[str, Any]
    num_trainable: int
    checkpoint: str
