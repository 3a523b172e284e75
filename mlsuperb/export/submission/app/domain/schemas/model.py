"""What is asked and answered. The evaluation server runs this file alone, and sends the columns without a default."""

from pydantic import BaseModel, Field


class ModelSingleInput(BaseModel):
    """A recording: samples in [-1, 1], and its language where the organisers tell it (`[eng]`), else empty."""

    audio: list[float]
    sample_rate: int = Field(default=16000, gt=0)
    language: str


class ModelSingleOutput(BaseModel):
    """The language as `[iso]`, and the text."""

    language: str
    text: str


class ModelBatchInput(BaseModel):
    """Several recordings."""

    dataset_samples: list[ModelSingleInput]
