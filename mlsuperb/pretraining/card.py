"""The model card of a pre-trained model, README.md in the Hugging Face hub's format."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mlsuperb.data.languages import BENCHMARK_LABELS, hub_languages
from mlsuperb.pretraining.records import PretrainingResult
from mlsuperb.runtime.files import write_atomic
from mlsuperb.runtime.records import json_object
from mlsuperb.scoring.escaping import page
from mlsuperb.types import SAMPLE_RATE_HZ
from mlsuperb.units.usage import BIT

CARD_FILE = "README.md"
FAMILIES = {"hubert": "HuBERT", "wav2vec2": "wav2vec 2.0 model", "wavlm": "WavLM"}  # by `model_type` of config.json
TEMPLATE = Path(__file__).with_name("card.md.jinja")


def write_card(result: PretrainingResult, folder: Path) -> Path:
    """Write the card of a model into its folder, where config.json and preprocessor_config.json are.

    Raises:
        OSError: the file cannot be written.
    """
    path = folder / CARD_FILE
    write_atomic(path, [model_card(result, folder)])
    return path


def model_card(result: PretrainingResult, folder: Path) -> str:
    """YAML metadata between two lines of dashes, then Markdown."""
    from huggingface_hub import ModelCard, ModelCardData
    from markupsafe import Markup

    config, preprocessor = (_json(folder / name) for name in ("config.json", "preprocessor_config.json"))
    labels = result.data["languages"].get("train", [])
    languages = sorted({label.split("_")[-1] if label in BENCHMARK_LABELS else label for label in labels})
    licence = result.config["upstream"].get("card", {}).get("licence")
    data = ModelCardData(
        language=hub_languages(labels) or None, library_name="transformers", pipeline_tag="feature-extraction", license=licence,
        tags=["mlsuperb", config["model_type"], "speech", "pre-training"] + ["synthetic-data"] * bool(result.data["synthetic"]),
        model_name=result.run_id,
    )  # fmt: skip
    text = page(
        TEMPLATE.read_text(encoding="utf-8"), card_data=Markup(data.to_yaml()), result=result, languages=languages,
        licence=licence,
        hours=result.data["splits"]["train"]["duration_s"] / 3600, seen_h=result.cost["audio_s"] / 3600,
        bit=BIT, family=FAMILIES[config["model_type"]], normalise=preprocessor["do_normalize"],
        num_layers=config["num_hidden_layers"] + 1, size=config["hidden_size"],
        rate_hz=SAMPLE_RATE_HZ / math.prod(config["conv_stride"]), group_norm=config["feat_extract_norm"] == "group",
    )  # fmt: skip
    return f"{ModelCard(text).content.rstrip()}\n"


def _json(path: Path) -> dict[str, Any]:
    return json_object(path, remedy="Restore a copy of the run")
