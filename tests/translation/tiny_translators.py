"""Tiny checkpoints of SeamlessM4T (both versions) and Whisper with their tokenizers, as they lie on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    SeamlessM4TConfig,
    SeamlessM4TModel,
    SeamlessM4TTokenizer,
    SeamlessM4Tv2Config,
    SeamlessM4Tv2Model,
    WhisperConfig,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäöüßÄÖÜ"
LANGUAGES = ("deu", "eng", "swh")
SIZES: dict[str, Any] = {
    "vocab_size": 96, "t2u_vocab_size": 64, "hidden_size": 32, "max_position_embeddings": 256, "encoder_layers": 2,
    "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "speech_encoder_layers": 2, "speech_encoder_attention_heads": 4,
    "speech_encoder_intermediate_size": 64, "speech_encoder_layerdrop": 0.5, "encoder_layerdrop": 0.5, "decoder_layerdrop": 0.5,
    "conv_depthwise_kernel_size": 7, "t2u_encoder_layers": 1, "t2u_decoder_layers": 1, "t2u_encoder_ffn_dim": 32,
    "t2u_decoder_ffn_dim": 32, "t2u_encoder_attention_heads": 4, "t2u_decoder_attention_heads": 4,
    "t2u_max_position_embeddings": 64, "upsample_initial_channel": 32, "unit_embed_dim": 16, "lang_embed_dim": 8,
    "spkr_embed_dim": 8, "unit_hifi_gan_vocab_size": 64, "vocoder_num_langs": 4, "vocoder_num_spkrs": 4,
}  # fmt: skip
VERSIONS = {
    "v1": (SeamlessM4TModel, SeamlessM4TConfig, {"max_source_positions": 512}),
    "v2": (
        SeamlessM4Tv2Model,
        SeamlessM4Tv2Config,
        {"char_vocab_size": 64, "t2u_variance_predictor_embed_dim": 32, "t2u_variance_predictor_hidden_dim": 16},
    ),
}


def tokenizer() -> SeamlessM4TTokenizer:
    """One token for each letter."""
    vocabulary = {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3}
    vocabulary |= {letter: number for number, letter in enumerate(LETTERS, len(vocabulary))}
    tokens = [f"__{code}__" for code in LANGUAGES]
    return SeamlessM4TTokenizer(
        vocab=vocabulary, merges=[], additional_special_tokens=tokens, src_lang="eng", tgt_lang="deu"
    )


def write_seamless(folder: Path, version: str = "v1", **changes: Any) -> Path:
    """A whole SeamlessM4T with random weights."""
    kind, config, more = VERSIONS[version]
    torch.manual_seed(0)
    model, tokens = kind(config(**{**SIZES, **more, **changes})), tokenizer()
    model.generation_config._from_model_config = (
        False  # as published; else transformers does not read the languages again
    )
    model.generation_config.text_decoder_lang_to_code_id = {
        code: tokens.convert_tokens_to_ids(f"__{code}__") for code in LANGUAGES
    }
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def write_whisper(folder: Path) -> Path:
    """A whole Whisper with random weights."""
    letters = "abcdefghijklmnopqrstuvwxyzĠABCDEFGHIJKLMNOPQRSTUVWXYZ"  # Ġ: a space, in the letters of GPT-2's bytes
    tokens = WhisperTokenizer(vocab={letter: number for number, letter in enumerate(letters)}, merges=[])
    special = ["<|startoftranscript|>", "<|en|>", "<|de|>", "<|sw|>", "<|transcribe|>", "<|notimestamps|>"]
    tokens.add_special_tokens({"additional_special_tokens": special})
    end = tokens.convert_tokens_to_ids("<|endoftext|>")
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=64, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=64, decoder_ffn_dim=64, encoder_layerdrop=0.5, decoder_layerdrop=0.5, max_target_positions=64,
        decoder_start_token_id=tokens.convert_tokens_to_ids(special[0]),
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), end),
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder
