"""The web service that the evaluation server starts: `uvicorn app.main:app`."""

from __future__ import annotations

from fastapi import FastAPI

from .api.endpoints.model import router

app = FastAPI()
app.include_router(router, prefix="/model", tags=["model"])


@app.get("/")
def alive() -> dict[str, str]:
    """Say that the service runs and which addresses it has."""
    return {"mlsuperb": "POST /model/single_evaluation or /model/batch_evaluation"}
