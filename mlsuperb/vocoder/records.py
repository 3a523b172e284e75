"""The result of job=vocoder; reading it needs no torch."""

from __future__ import annotations

from typing import Any, ClassVar

from mlsuperb.runs.result import Result


class VocoderResult(Result):
    """A result of job=vocoder.

    Attributes:
        data: the corpus, as in the result of the labels.
        targets: what the units are: their labels, the features they were found in.
        voices: speakers and languages that the vocoder has embeddings of.
        start: what `vocoder.start` gave and what of it did not fit; null where the vocoder is new.
        scores: of dev utterances copied from their own units, in all and by language: `mel_l1`, the mean distance of log-mels;
            `duration_error`, the mean squared error of log(1 + frames).
        num_parameters: of the vocoder (generator, embeddings, duration predictor) and of the discriminators.
        checkpoint: folder of the vocoder, in the run's.
    """

    kind: ClassVar[str] = "vocoder"

    data: dict[str, Any]
    targets: dict[str, Any]
    voices: dict[str, list[str]]
    start: dict[str, Any] | None
    scores: dict[str, Any]
    num_parameters: dict[str, int]
    checkpoint: str
