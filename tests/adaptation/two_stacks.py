"""A tiny SeamlessM4T, of which speech encoder and text decoder are adapted: what a translation job will train."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from transformers import SeamlessM4TConfig, SeamlessM4TModel

from mlsuperb.upstreams.base import Stack, Stacked
from mlsuperb.upstreams.selfsupervised import CONFORMER

ENCODER = replace(
    CONFORMER,
    blocks="model.speech_encoder.encoder.layers",
    front=("model.speech_encoder.feature_projection",),
    whole="model.speech_encoder.encoder",
)
DECODER = Stack(
    blocks="model.text_decoder.layers",
    front=(),
    attention="self_attn",
    ffn="ffn.fc2",
    ffn_dropout="ffn_dropout",
    attention_linears=tuple(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")),
    ffn_linears=("ffn.fc1", "ffn.fc2"),
    whole="model.text_decoder",
)
SIZES = {
    "vocab_size": 128,
    "t2u_vocab_size": 64,
    "hidden_size": 64,
    "max_position_embeddings": 128,
    "encoder_layers": 1,
    "decoder_layers": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 128,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "speech_encoder_layers": 4,
    "speech_encoder_attention_heads": 4,
    "speech_encoder_intermediate_size": 128,
    "conv_depthwise_kernel_size": 7,
    "max_source_positions": 64,
    "speech_encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "t2u_encoder_layers": 1,
    "t2u_decoder_layers": 1,
    "t2u_encoder_ffn_dim": 32,
    "t2u_decoder_ffn_dim": 32,
    "t2u_encoder_attention_heads": 4,
    "t2u_decoder_attention_heads": 4,
    "t2u_max_position_embeddings": 64,
    "upsample_initial_channel": 32,
    "unit_embed_dim": 16,
    "lang_embed_dim": 8,
    "spkr_embed_dim": 8,
    "unit_hifi_gan_vocab_size": 64,
    "vocoder_num_langs": 4,
    "vocoder_num_spkrs": 4,
}


class TinyTranslator(Stacked):
    """Speech in, the loss of a text out."""

    stacks = {"encoder": ENCODER, "decoder": DECODER}

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.model = SeamlessM4TModel(SeamlessM4TConfig(**SIZES))
        del self.model.t2u_model, self.model.vocoder

    def forward(self) -> Tensor:
        mels_BFK = torch.randn(2, 24, 160, generator=torch.Generator().manual_seed(0))
        labels_BS = torch.tensor([[5, 6, 7, 3], [8, 9, 3, -100]])
        loss: Tensor = self.model(input_features=mels_BFK, labels=labels_BS).loss
        return loss
