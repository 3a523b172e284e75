"""A self-supervised model as a folder in the hub's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlsuperb.runtime.files import write_json
from mlsuperb.upstreams.base import SAMPLE_RATE_HZ
from mlsuperb.upstreams.padding import EXTRACTOR_EPS
from mlsuperb.upstreams.selfsupervised import SelfSupervised
from mlsuperb.upstreams.sources import NORMALIZE_EPS, PREPROCESSOR


def save_folder(upstream: SelfSupervised, folder: Path, **config: Any) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json into a folder.

    Args:
        upstream: its model is written as it is.
        folder: there already.
        config: values of config.json that differ from the model's own.
    """
    own = {name: getattr(upstream.model.config, name) for name in config}
    try:
        for name, value in config.items():
            setattr(upstream.model.config, name, value)
        upstream.model.save_pretrained(folder)
    finally:
        for name, value in own.items():
            setattr(upstream.model.config, name, value)
    write_json(folder / PREPROCESSOR, preprocessor(upstream))


def preprocessor(upstream: SelfSupervised) -> dict[str, Any]:
    """The content of preprocessor_config.json, so that other programs prepare waves as the run did."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor

    config: Any = upstream.model.config
    if config.model_type == "wav2vec2-bert":
        return dict(SeamlessM4TFeatureExtractor().to_dict())
    extractor = Wav2Vec2FeatureExtractor(
        do_normalize=upstream.normalise,
        sampling_rate=SAMPLE_RATE_HZ,
        return_attention_mask=config.feat_extract_norm == "layer",  # as the published models of either kind
        **({} if upstream.input.eps == EXTRACTOR_EPS else {NORMALIZE_EPS: upstream.input.eps}),
    )
    return dict(extractor.to_dict())
