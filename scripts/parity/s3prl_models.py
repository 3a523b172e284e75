"""Small models with random weights, as s3prl reads them: its own, and those it takes from transformers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from scripts.parity.report import shake

CONVOLUTIONS = "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2"
SMALL = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96, "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
SHAKEN = ("norm", "grep", "relative")
LARGE = {**SMALL, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


def write_own(name: str, folder: Path, *, large: bool) -> Path:
    """A small model of s3prl's own, as its converted checkpoints are; beside it transformers' configuration."""
    import transformers
    from s3prl.upstream.hubert import hubert_model
    from s3prl.upstream.wav2vec2 import wav2vec2_model
    from s3prl.upstream.wavlm import WavLM as wavlm  # noqa: N813

    settings = {
        "encoder_layers": 3, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 96, "encoder_attention_heads": 4,
        "conv_feature_layers": CONVOLUTIONS, "conv_pos": 16, "conv_pos_groups": 4, "layer_norm_first": large,
        "extractor_mode": "layer_norm" if large else "default", "conv_bias": large,
    }  # fmt: skip
    torch.manual_seed(2)
    if name.startswith("wavlm"):
        relative = {"relative_position_embedding": True, "gru_rel_pos": True, "max_distance": 800}
        config = settings | relative | {"normalize": large}
        model = wavlm.WavLM(wavlm.WavLMConfig(config))
        state: dict[str, Any] = {"cfg": config, "model": model.state_dict()}
        like = transformers.WavLMConfig
    elif name.startswith("hubert"):
        task = hubert_model.HubertPretrainingConfig(normalize=large)
        config = hubert_model.HubertConfig(label_rate=50, **settings)
        model = hubert_model.HubertModel(config, task, [["a"] * 9])
        like = transformers.HubertConfig
    else:
        task = wav2vec2_model.AudioPretrainingConfig(normalize=large)
        config = wav2vec2_model.Wav2Vec2Config(quantize_targets=True, **settings)
        model = wav2vec2_model.Wav2Vec2Model(config)
        like = transformers.Wav2Vec2Config
    shake(model, *SHAKEN, by=0.3)
    if not name.startswith("wavlm"):
        state = {"task_cfg": asdict(task), "model_cfg": asdict(config), "model_weight": model.state_dict()}
        state["dictionaries_symbols"] = [["a"] * 9]
    torch.save(state, folder / "own.pt")
    like(**(LARGE if large else SMALL)).save_pretrained(folder / "like")
    return folder / "own.pt"


def write_wrapped(name: str, folder: Path, *, large: bool) -> Path:
    """A small model of transformers, as `save_pretrained` leaves it."""
    import transformers

    kind = "Hubert" if "hubert" in name else "Wav2Vec2"
    torch.manual_seed(2)
    config = getattr(transformers, f"{kind}Config")(**(LARGE if large else SMALL))
    model = getattr(transformers, f"{kind}Model")(config)
    shake(model, *SHAKEN, by=0.3)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=large)
    for part in (model, extractor):
        part.save_pretrained(folder / "like")
    return folder / "like"
