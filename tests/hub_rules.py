"""What the Hugging Face hub refuses or warns of in the metadata of a model card, as far as it can be known without asking it
(https://huggingface.co/docs/hub/model-cards, https://github.com/huggingface/hub-docs/blob/main/modelcard.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from huggingface_hub import ModelCard
from pycountry import languages

REPOSITORY = re.compile(r"([\w-][\w.-]*/)?[\w-][\w.-]*")
# of its list, those of speech
PIPELINES = {"automatic-speech-recognition", "audio-classification", "feature-extraction"}
LISTS = ("language", "tags", "datasets", "metrics")


def problems(text: str) -> list[str]:
    """What is wrong with a card; parsed by the hub's own client."""
    card = ModelCard(text)
    return [*_problems(card.data.to_dict()), *([] if card.text.strip() else ["the card is empty"])]


def _problems(data: dict[str, Any]) -> Iterator[str]:
    for name in LISTS:
        for one in data.get(name, []):
            if not isinstance(one, str) or not one or len(one) > 100:
                yield f"{name}: {one!r} is no short text"
    for code in data.get("language", []):
        if not (languages.get(alpha_2=code) or languages.get(alpha_3=code)):
            yield f"language: {code!r} is no code of ISO 639"
        if len(code) == 3 and hasattr(languages.get(alpha_3=code), "alpha_2"):
            yield f"language: {code!r} has a code of two letters, which filters know"
    for name in [data.get("base_model", "a/b"), *data.get("datasets", [])]:
        if not REPOSITORY.fullmatch(name):
            yield f"{name!r} is no id of a repository"
    if data.get("pipeline_tag", "feature-extraction") not in PIPELINES:
        yield f"pipeline_tag: {data['pipeline_tag']!r}"
    for model in data.get("model-index", []):
        yield from _index_problems(model)


def _index_problems(model: dict[str, Any]) -> Iterator[str]:
    if not model.get("name") or not model.get("results"):
        yield "model-index: no name or no results"
    for result in model.get("results", []):
        if result["task"]["type"] not in PIPELINES:
            yield f"model-index: task {result['task']}"
        if not REPOSITORY.fullmatch(result["dataset"]["type"]) or not result["dataset"]["name"]:
            yield f"model-index: dataset {result['dataset']}"
        for metric in result["metrics"]:
            if not metric.get("type") or not isinstance(metric.get("value"), float | int):
                yield f"model-index: metric {metric}"
