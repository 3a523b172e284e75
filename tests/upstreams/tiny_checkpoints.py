"""Tiny checkpoints of every family, as they lie on the hub: config.json, weights, preprocessor_config.json."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    HubertConfig,
    HubertModel,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

# mask_time_prob and layerdrop as published, to see that they are switched off.
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "layerdrop": 0.5,
    "mask_time_prob": 0.5,
    "mask_time_length": 2,
}
# 16 channels a group of the positional convolution: see random_hubert.py.
CONV = {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
BASE = {**SMALL, **CONV, "feat_extract_norm": "group"}
LARGE = {**SMALL, **CONV, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}

FAMILIES = {
    "hubert_base": (HubertModel, HubertConfig(**BASE)),
    "hubert_large": (HubertModel, HubertConfig(**LARGE)),
    "wav2vec2_base": (Wav2Vec2Model, Wav2Vec2Config(**BASE)),
    "xls_r": (Wav2Vec2Model, Wav2Vec2Config(**LARGE)),
    "mms": (Wav2Vec2Model, Wav2Vec2Config(**LARGE, adapter_attn_dim=4)),
    "wavlm_base": (WavLMModel, WavLMConfig(**BASE)),
    "wavlm_large": (WavLMModel, WavLMConfig(**LARGE)),
    "w2v_bert": (Wav2Vec2BertModel, Wav2Vec2BertConfig(**SMALL, output_hidden_size=32, conv_depthwise_kernel_size=7)),
}


def save(folder: Path, model: torch.nn.Module, *, do_normalize: bool | None) -> Path:
    """`model` as a checkpoint; without a preprocessor file if `do_normalize` is None."""
    model.save_pretrained(folder)
    if do_normalize is not None:
        Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(folder)
    return folder


def write_checkpoint(folder: Path, family: str) -> Path:
    """A checkpoint of `family` with seeded random weights."""
    model_class, config = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = model_class(config)
        with torch.no_grad():  # norms and position biases that do something, as in trained models
            for name, parameter in model.named_parameters():
                if "norm" in name:
                    parameter.add_(0.3 * torch.randn_like(parameter))
                if "gru_rel_pos_linear" in name or "rel_attn_embed" in name or "distance_embedding" in name:
                    parameter.add_(torch.randn_like(parameter))
    if family == "w2v_bert":
        SeamlessM4TFeatureExtractor().save_pretrained(folder)
        return save(folder, model, do_normalize=None)
    return save(folder, model, do_normalize="base" not in family)
