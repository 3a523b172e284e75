"""Tiny checkpoints of every family, as they lie on the hub: config.json, weights, preprocessor_config.json."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from tiny_omniasr import write_omniasr
from tiny_owsm import CTC, write_owsm
from tiny_xeus import write_phonetic_xeus, write_xeus
from transformers import (
    HubertConfig,
    HubertModel,
    ParakeetCTCConfig,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    PretrainedConfig,
    SeamlessM4TConfig,
    SeamlessM4TFeatureExtractor,
    SeamlessM4TForSpeechToText,
    SeamlessM4Tv2Config,
    SeamlessM4Tv2ForSpeechToText,
    VoxtralConfig,
    VoxtralForConditionalGeneration,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.omniasr import OmniASR
from mlsuperb.upstreams.owsm import Owsm
from mlsuperb.upstreams.owsm_ctc import OwsmCtc
from mlsuperb.upstreams.parakeet import Parakeet
from mlsuperb.upstreams.seamless import SeamlessM4T
from mlsuperb.upstreams.voxtral import Voxtral
from mlsuperb.upstreams.whisper import Whisper
from mlsuperb.upstreams.xeus import PhoneticXeus, Xeus

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

WHISPER = {
    "vocab_size": 64,
    "d_model": 32,
    "encoder_layers": 4,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_layerdrop": 0.5,
    "dropout": 0.1,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1),
}
SEAMLESS = {
    "vocab_size": 64,
    "hidden_size": 32,
    "speech_encoder_layers": 4,
    "speech_encoder_attention_heads": 4,
    "speech_encoder_intermediate_size": 64,
    "speech_encoder_layerdrop": 0.5,
    "conv_depthwise_kernel_size": 7,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
}
PARAKEET = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "subsampling_conv_channels": 8,
    "layerdrop": 0.5,
}
VOXTRAL_ENCODER = {
    "model_type": "voxtral_encoder",
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
SUPERVISED = {
    "whisper": (WhisperForConditionalGeneration, WhisperConfig(**WHISPER)),
    # 0.6 s at a time where published ones have 30 s, to see pieces.
    "whisper_pieces": (
        WhisperForConditionalGeneration,
        WhisperConfig(**WHISPER, max_source_positions=30, num_mel_bins=128),
    ),
    "seamless_v1": (SeamlessM4TForSpeechToText, SeamlessM4TConfig(**SEAMLESS, max_source_positions=64)),
    "seamless_v2": (SeamlessM4Tv2ForSpeechToText, SeamlessM4Tv2Config(**SEAMLESS)),
    "parakeet": (
        ParakeetForCTC,
        ParakeetCTCConfig(vocab_size=16, pad_token_id=15, encoder_config=ParakeetEncoderConfig(**PARAKEET)),
    ),
    "voxtral": (
        VoxtralForConditionalGeneration,
        VoxtralConfig(audio_config=VOXTRAL_ENCODER, text_config=LLAMA),
    ),
}
# Every upstream that reads a checkpoint: the checkpoint's family, its class, further settings.
READERS = {
    **{family: (family, HuggingFace, {}) for family in FAMILIES},
    "hubert_base_as_s3prl": ("hubert_base", HuggingFace, {"conventions": "s3prl"}),
    "mms_as_s3prl_hf": ("mms", HuggingFace, {"conventions": "s3prl_hf"}),
    "omniasr": ("omniasr", OmniASR, {}),
    "whisper": ("whisper", Whisper, {}),
    "whisper_pieces": ("whisper_pieces", Whisper, {}),
    "whisper_padded": ("whisper_pieces", Whisper, {"pad_to_30s": True}),
    "seamless_v1": ("seamless_v1", SeamlessM4T, {}),
    "seamless_v2": ("seamless_v2", SeamlessM4T, {}),
    "parakeet": ("parakeet", Parakeet, {}),
    "voxtral": ("voxtral", Voxtral, {}),
    "owsm": ("owsm", Owsm, {}),
    "owsm_padded": ("owsm", Owsm, {"pad_to_30s": True}),
    "owsm_ctc": ("owsm_ctc", OwsmCtc, {}),
    "xeus": ("xeus", Xeus, {"input_layer": False, "final_norm": False}),
    "phonetic_xeus": ("phonetic_xeus", PhoneticXeus, {}),
}
WRITERS = {
    "omniasr": write_omniasr,
    "owsm": write_owsm,
    "owsm_ctc": partial(write_owsm, config=CTC),
    "xeus": write_xeus,
    "phonetic_xeus": write_phonetic_xeus,
}


def save(folder: Path, model: torch.nn.Module, *, do_normalize: bool | None) -> Path:
    """`model` as a checkpoint; without a preprocessor file if `do_normalize` is None."""
    model.save_pretrained(folder)
    if do_normalize is not None:
        Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(folder)
    return folder


def write_checkpoint(folder: Path, family: str) -> Path:
    """A checkpoint of `family` with seeded random weights."""
    if family in WRITERS:
        return WRITERS[family](folder)
    model_class, config = {**FAMILIES, **SUPERVISED}[family]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = model_class(config)
        move_from_initial(model)
    if family == "w2v_bert" or family in SUPERVISED:
        _extractor(config).save_pretrained(folder)
        return save(folder, model, do_normalize=None)
    return save(folder, model, do_normalize="base" not in family)


@torch.no_grad()
def move_from_initial(model: torch.nn.Module) -> None:
    """Norms, position biases and convolutions that do something, as in trained models."""
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.add_(0.3 * torch.randn_like(parameter))
        if "gru_rel_pos_linear" in name or "rel_attn_embed" in name or "distance_embedding" in name or ".bias_" in name:
            parameter.add_(torch.randn_like(parameter))
        # Parakeet's: four layers, each of which would halve the signal or worse
        if "subsampling" in name and parameter.ndim > 1:
            parameter.normal_(std=(2 / parameter[0].numel()) ** 0.5)
    for name, buffer in model.named_buffers():
        if "norm.running" in name:
            buffer.add_(0.3 * torch.rand_like(buffer))


def _extractor(
    config: PretrainedConfig,
) -> WhisperFeatureExtractor | SeamlessM4TFeatureExtractor | ParakeetFeatureExtractor:
    if config.model_type in ("whisper", "voxtral"):
        num_mels = getattr(config, "audio_config", config).num_mel_bins
        return WhisperFeatureExtractor(feature_size=num_mels, chunk_length=30)
    if config.model_type == "parakeet_ctc":
        return ParakeetFeatureExtractor(feature_size=config.encoder_config.num_mel_bins)
    return SeamlessM4TFeatureExtractor()
