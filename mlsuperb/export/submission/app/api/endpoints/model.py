"""The two addresses that the evaluation server calls."""

from fastapi import APIRouter

from ...domain.model import ModelController
from ...domain.schemas.model import ModelBatchInput, ModelSingleInput, ModelSingleOutput

router = APIRouter()


@router.post("/single_evaluation", response_model=ModelSingleOutput)
def single_evaluation(data: ModelSingleInput) -> ModelSingleOutput:
    """One recording."""
    return ModelController().single_inference(data)


@router.post("/batch_evaluation", response_model=list[ModelSingleOutput])
def batch_evaluation(data: ModelBatchInput) -> list[ModelSingleOutput]:
    """Several; the answers are in their order."""
    return ModelController().batch_inference(data)
