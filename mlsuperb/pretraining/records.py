"""The results of job=labels and job=pretrain; reading them needs no torch."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from mlsuperb.runs.result import Result


class LabelsResult(Result):
    """A result of job=labels.

    Attributes:
        data: the corpus, as in a result of the benchmark.
        features: what was labelled: upstream, layer.
        codebook_of: the features that the codebook was fitted on, as its own record says: of the same layer of the same model.
        labels: codebook (sha256), rate, number of units and of frames, sha256 over all labels.
        units: how they are used: active units, perplexity, mean length of a run of one unit, bit rate (results of earlier
            versions have another figure, `bits_per_s`, in its place).
    """

    kind: ClassVar[str] = "labels"

    data: dict[str, Any]
    features: dict[str, Any]
    clustering: dict[str, Any]
    labels: dict[str, Any]
    units: dict[str, Any]
    codebook_of: dict[str, Any] = Field(default_factory=dict)


class PretrainingResult(Result):
    """A result of job=pretrain.

    Attributes:
        upstream: name, settings and record of what was trained.
        data: the corpus, as in the result of the labels; `languages` and hours are what was trained on.
        targets: what the labels are.
        scores: of the validation utterances with the final weights: in all, and by language.
        adaptation: what of the upstream was trained, as in a result of the benchmark; None: all of it.
        projection: whose final projection the head has: `base`, which was not trained, or `new`.
        num_trainable, num_total: parameters, the head's included.
        checkpoint: folder of the model, in the run's.
    """

    kind: ClassVar[str] = "pretrain"

    upstream: dict[str, Any]
    data: dict[str, Any]
    targets: dict[str, Any]
    scores: dict[str, Any]
    adaptation: dict[str, Any] | None = None
    projection: str = "new"
    num_trainable: int
    num_total: int | None = None
    checkpoint: str
