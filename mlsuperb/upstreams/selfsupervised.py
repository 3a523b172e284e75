"""HuBERT, wav2vec 2.0, WavLM and w2v-BERT 2.0 models of transformers, seen as a stack of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mlsuperb.layers.masks import valid_mask, zero_padding
from mlsuperb.upstreams.base import ENCODER, Front, Regularisation, Stack, Upstream
from mlsuperb.upstreams.checkpoint import type_problems
from mlsuperb.upstreams.inputs import MEL_FEATURES, WAVE_FEATURES, StackedMelInput, WaveInput, mel_problems
from mlsuperb.upstreams.padding import EXTRACTOR_EPS
from mlsuperb.upstreams.sources import CONFIG

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# `model_type` in config.json -> class in transformers
MODEL_CLASSES = {
    "hubert": "HubertModel",
    "wav2vec2": "Wav2Vec2Model",
    "wavlm": "WavLMModel",
    "wav2vec2-bert": "Wav2Vec2BertModel",
}
_NAMES = {
    "hubert": "HuBERT",
    "wav2vec2": "wav2vec 2.0 with XLS-R and MMS",
    "wavlm": "WavLM",
    "wav2vec2-bert": "w2v-BERT 2.0",
}


_HUBERT = Stack(
    blocks="model.encoder.layers",
    front=("model.feature_extractor", "model.feature_projection", "model.encoder.pos_conv_embed"),
    attention="attention",
    ffn="feed_forward.output_dense",
    ffn_dropout="feed_forward.output_dropout",
    attention_linears=("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.out_proj"),
    ffn_linears=("feed_forward.intermediate_dense", "feed_forward.output_dense"),
)
CONFORMER = replace(  # w2v-BERT 2.0's blocks, which are SeamlessM4T's, too
    _HUBERT,
    front=("model.feature_projection",),
    attention="self_attn",
    ffn="ffn2.output_dense",
    ffn_dropout="ffn2.output_dropout",
    attention_linears=tuple(f"self_attn.linear_{name}" for name in ("q", "k", "v", "out")),
    ffn_linears=tuple(f"ffn{i}.{name}" for i in (1, 2) for name in ("intermediate_dense", "output_dense")),
)
_STACKS = {
    "hubert": _HUBERT,
    "wav2vec2": _HUBERT,
    "wavlm": replace(
        _HUBERT,
        refused=dict.fromkeys(
            ("attention_linears", "quantisation"),
            "WavLM's attention reads the weights of its projections without calling them, so that what is put on them is "
            "never run (transformers' `WavLMAttention`)",
        ),
    ),
    "wav2vec2-bert": CONFORMER,
}


# Blocks, size and width of the feed-forward networks of models with fewer heads than size / 64: Omnilingual ASR's (arXiv
# 2511.09690, table 4), XLS-R 1B and 2B (arXiv 2111.09296, table 2) and MMS 1B
_SIXTEEN_HEADS = {
    (48, 1280, 5120): "XLS-R 1B, MMS 1B, omniASR_W2V_1B",
    (48, 1920, 7680): "XLS-R 2B",
    (60, 2048, 8192): "omniASR_W2V_3B",
    (128, 2048, 8192): "omniASR_W2V_7B",
}


class SelfSupervised(Upstream):
    """A transformers model of one of `MODEL_CLASSES` as an upstream.

    Layer 0 is the input of the first Transformer block, layer i the output of block i; the last is the model's own
    output, after its final layer norm where it has one. Layer drop and the model's own SpecAugment are off (transformers
    leaves dropped layers out of the hidden states).
    Audio shorter than one frame (400 samples; 560 for w2v-BERT 2.0) is padded with zeros to one frame.

    Args:
        model: a base model (no head). Changed in place.
        normalise: bring each wave to zero mean and unit variance first (w2v-BERT 2.0 reads normalised mels anyway).
        eps: added to that variance.
        dropout_while_frozen: see `Upstream`.
        regularisation: `off` takes out the embedding of masked frames, too, which would be a parameter without a gradient;
            `mask_embedding` keeps it, for pre-training that puts it in place of frames between the two halves.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        normalise: bool = False,
        eps: float = EXTRACTOR_EPS,
        dropout_while_frozen: bool = False,
        regularisation: Regularisation = "off",
    ) -> None:
        super().__init__()
        if found := config_problems(model.config.to_dict()):
            raise ValueError(" ".join(found))
        from mlsuperb.upstreams.attention import use_faster_parts

        use_faster_parts(model)
        self.model: Any = model
        self.num_layers = model.config.num_hidden_layers + 1
        self.layer_size = model.config.hidden_size
        self.dropout_while_frozen = dropout_while_frozen
        self.input = _make_input(model, normalise=normalise, eps=eps)
        self.frame_rate_hz = self.input.frame_rate_hz
        self.has_final_norm = getattr(model.config, "do_stable_layer_norm", True)
        self.stacks = {ENCODER: _STACKS[model.config.model_type]}
        self._has_group_norm = _mask_group_norm(model)
        _switch_off_regularisation(model, keep_mask_embedding=regularisation == "mask_embedding")

    @property
    def mask_embedding_D(self) -> nn.Parameter | None:  # noqa: N802 (a shape)
        """What a masked frame is replaced by in pre-training; None with `regularisation="off"`."""
        return getattr(self.model, "masked_spec_embed", None)

    @property
    def normalise(self) -> bool:
        """Whether waves are brought to zero mean and unit variance."""
        return bool(getattr(self.input, "normalise", False))

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        with torch.autocast(wave_BT.device.type, enabled=False):
            inputs, input_lengths_B = self.input(wave_BT.float(), lengths_B)
        conv_BFC = self._convolve(inputs, input_lengths_B) if isinstance(self.input, WaveInput) else None
        projected = self.model.feature_projection(inputs if conv_BFC is None else conv_BFC)
        hidden_BFD = projected[0] if isinstance(projected, tuple) else projected  # HuBERT's alone is no tuple
        return Front(hidden_BFD, self.input.num_frames(lengths_B), conv_BFC)

    def _convolve(self, wave_BT: Tensor, lengths_B: Tensor) -> Tensor:
        front = self.model.feature_extractor
        # Else transformers makes the wave require a gradient in train mode, which nobody reads, and a frozen front
        # builds a graph.
        front._requires_grad = False
        if self._has_group_norm:
            front.conv_layers[0].num_samples_B = lengths_B
        conv_BCF: Tensor = front(wave_BT)
        return conv_BCF.transpose(1, 2)

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> tuple[Tensor, ...]:
        from transformers.utils.output_capturing import capture_outputs

        valid_BF = valid_mask(lengths_B, hidden_BFD.shape[1])
        # transformers sets padding to zero in place; HuBERT's kin want a bool mask for that, w2v-BERT 2.0 adds its mask up
        mask = valid_BF if isinstance(self.input, WaveInput) else valid_BF.long()
        encode = capture_outputs(lambda model, *hidden, **known: model.encoder(*hidden, **known))
        output = encode(self.model, zero_padding(hidden_BFD, lengths_B), attention_mask=mask, output_hidden_states=True)
        # tied by `capture_outputs`: the last one is after the final layer norm of stable-layer-norm models
        layers: tuple[Tensor, ...] = output.hidden_states
        if getattr(self.model, "intermediate_ffn", None):
            layers = (*layers[:-1], layers[-1] + 0.5 * self.model.intermediate_ffn(layers[-1]))
        assert len(layers) == self.num_layers, f"{len(layers)} layers came out of a model of {self.num_layers}"
        return layers

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return self.input.num_frames(lengths_B)


def _switch_off_regularisation(model: PreTrainedModel, *, keep_mask_embedding: bool) -> None:
    off = {"layerdrop": 0.0, "apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    for name, value in off.items():
        setattr(model.config, name, value)
    if hasattr(model, "masked_spec_embed") and not keep_mask_embedding:
        del model.masked_spec_embed
    if keep_mask_embedding and not hasattr(model, "masked_spec_embed"):
        raise ValueError(
            "upstream.regularisation=mask_embedding needs a checkpoint with an embedding of masked frames, but this model was "
            "trained without one (config.json: mask_time_prob and mask_feature_prob are 0). Choose another checkpoint."
        )


def config_problems(config: dict[str, object]) -> list[str]:
    """Why a model of this config.json cannot be an upstream, a sentence each."""
    if found := type_problems(config, supported=_NAMES):
        return found
    if config.get("add_adapter"):
        found.append(
            "The checkpoint has a convolutional adapter on top (config.json: add_adapter), which shortens its output; "
            "use the pre-trained checkpoint it was fine-tuned from."
        )
    if config.get("conv_pos_batch_norm"):
        found.append(
            "The checkpoint has a batch norm before its positional convolution (config.json: conv_pos_batch_norm), "
            "which lets padding change the features; choose a checkpoint with weight norm."
        )
    if config["model_type"] == "wav2vec2-bert":
        found += mel_problems(config)
    return found + head_problems(config)


def head_problems(config: Mapping[str, Any]) -> list[str]:
    """Whether a config.json gives a wav2vec 2.0 model the sizes of one that is published with another number of heads. Nothing in
    the weights tells how many there are."""
    found = tuple(config.get(name) for name in ("num_hidden_layers", "hidden_size", "intermediate_size"))
    model = next((model for sizes, model in _SIXTEEN_HEADS.items() if sizes == found), None)
    heads = config.get("num_attention_heads")
    if config["model_type"] != "wav2vec2" or model is None or heads == 16:
        return []
    return [
        f"{CONFIG} says num_attention_heads={heads}, but models of these sizes ({model}) were trained with 16 heads: with "
        f"{heads} the same weights load without an error and compute something else. The community's converter of "
        "Omnilingual ASR (aadel4/omniASR-W2V-*) takes hidden_size / 64. Give Meta's own file to upstream=omniasr_w2v_1b, _3b or "
        "_7b, or set num_attention_heads to 16 in a copy of the folder."
    ]


def features(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """How audio is prepared for a model of this config.json (`Kind.features`)."""
    return MEL_FEATURES if config["model_type"] == "wav2vec2-bert" else WAVE_FEATURES


def _make_input(model: PreTrainedModel, *, normalise: bool, eps: float) -> WaveInput | StackedMelInput:
    config = model.config
    if config.model_type == "wav2vec2-bert":
        return StackedMelInput()
    return WaveInput(kernels=config.conv_kernel, strides=config.conv_stride, normalise=normalise, eps=eps)


def _mask_group_norm(model: PreTrainedModel) -> bool:
    """Replaces the first convolution of a group-norm model; says whether there was one."""
    if getattr(model.config, "feat_extract_norm", None) != "group":
        return False
    from mlsuperb.upstreams.masked_conv import MaskedFirstConv

    front: Any = model.feature_extractor
    convolutions = front.conv_layers
    convolutions[0] = MaskedFirstConv(convolutions[0])
    return True
