"""The model, under the names that the evaluation server calls it by."""

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .schemas.model import ModelBatchInput, ModelSingleInput, ModelSingleOutput

RESOURCES = Path(__file__).resolve().parents[1] / "resources"


@cache
def _recogniser() -> Any:
    """Loaded once: the endpoints make a controller for every request."""
    sys.path.insert(0, str(RESOURCES))
    from mlsuperb.export.server import Server

    return Server(RESOURCES / "run")


class ModelController:
    """See `single_inference` and `batch_inference`."""

    def __init__(self) -> None:
        self.initialized = True
        self.server = _recogniser()

    def single_inference(self, input_data: ModelSingleInput) -> ModelSingleOutput:
        """One recording. A language that is told is not used: the challenge does not score by it."""
        return self.batch_inference([input_data])[0]

    def batch_inference(self, input_data: ModelBatchInput | Sequence[Any]) -> list[ModelSingleOutput]:
        """Several, in their order. The challenge's template hands on the list alone, and its samples as objects or as
        dictionaries: all of it will do."""
        given = input_data.dataset_samples if isinstance(input_data, ModelBatchInput) else input_data
        samples = [one if isinstance(one, ModelSingleInput) else ModelSingleInput(**one) for one in given]
        answers = self.server([(one.audio, one.sample_rate) for one in samples])
        return [ModelSingleOutput(language=answer.language, text=answer.text) for answer in answers]
