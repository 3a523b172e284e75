"""A pre-trained model as a folder that transformers and `upstream=hf` read, with its prediction head beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsuperb.pretraining.head import PredictionHead
from mlsuperb.runtime.files import whole_folder, write_json
from mlsuperb.upstreams.folder import save_folder
from mlsuperb.upstreams.huggingface import EXPORT_FILE
from mlsuperb.upstreams.selfsupervised import SelfSupervised

# as published HuBERTs have them, for whoever fine-tunes the model; without them transformers leaves the mask embedding out
REGULARISATION: dict[str, Any] = {"apply_spec_augment": True, "mask_time_prob": 0.05, "layerdrop": 0.05}


def save_pretrained(
    folder: Path, upstream: SelfSupervised, head: PredictionHead, *, label_rate_hz: float, about: Mapping[str, Any]
) -> None:
    """Write config.json, model.safetensors, preprocessor_config.json, prediction_head.safetensors and mlsuperb_export.json, whole
    or not at all.

    Args:
        label_rate_hz: of the labels that the head predicts.
        about: where it comes from.
    """
    with whole_folder(folder) as unfinished:
        save_folder(upstream, unfinished, **REGULARISATION)
        head.save(unfinished, label_rate_hz=label_rate_hz)
        write_json(unfinished / EXPORT_FILE, dict(about))
