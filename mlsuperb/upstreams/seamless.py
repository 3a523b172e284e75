"""SeamlessM4T's speech encoder: a Conformer on stacked log-mels, w2v-BERT trained further on speech translation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mlsuperb.layers.masks import valid_mask
from mlsuperb.upstreams.base import ENCODER, Front, Upstream, size_and_type
from mlsuperb.upstreams.checkpoint import Kind, load, type_problems
from mlsuperb.upstreams.inputs import MEL_FEATURES, StackedMelInput, mel_problems
from mlsuperb.upstreams.published import Published
from mlsuperb.upstreams.selfsupervised import CONFORMER

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CLASSES = {
    "seamless_m4t": "models.seamless_m4t.modeling_seamless_m4t.SeamlessM4TSpeechEncoder",
    "seamless_m4t_v2": "models.seamless_m4t_v2.modeling_seamless_m4t_v2.SeamlessM4Tv2SpeechEncoder",
}


def config_problems(config: dict[str, Any]) -> list[str]:
    """Why a model of this config.json cannot be an upstream, a sentence each."""
    return type_problems(config, supported=dict.fromkeys(_CLASSES, "SeamlessM4T")) or mel_problems(config)


KIND = Kind(
    classes=_CLASSES,
    config_problems=config_problems,
    features=lambda _: MEL_FEATURES,
    body=("encoder.", "feature_projection."),
    unused=("intermediate_ffn.", "inner_layer_norm."),
    renamed={r"^speech_encoder\.": ""},  # as it lies in a whole SeamlessM4T
    changes={"add_adapter": False},
    part=True,
)


class SeamlessStack(Upstream):
    """The Conformer of a `SeamlessM4TSpeechEncoder` (versions 1 and 2) as an upstream.

    Layer 0 is the input of the first Conformer block, layer i the output of block i; the last one, of the last block, is
    after the encoder's layer norm. 50 frames a second; audio under 35 ms is padded with zeros to that.

    What follows in the original (a feed-forward network, the length adaptor that leaves an eighth of the frames, a layer
    norm) leads to the text decoder and is left out. Version 1 has batch norm (see `Upstream.train`).

    Args:
        model: changed in place.
        dropout_while_frozen: see `Upstream`.
    """

    stacks = {ENCODER: CONFORMER}

    def __init__(self, model: PreTrainedModel, *, dropout_while_frozen: bool = False) -> None:
        super().__init__()
        from mlsuperb.upstreams.attention import use_faster_parts

        use_faster_parts(model)
        speech_encoder: Any = model
        speech_encoder.config.speech_encoder_layerdrop = 0.0
        speech_encoder.adapter = None
        del speech_encoder.intermediate_ffn, speech_encoder.inner_layer_norm
        self.num_layers = len(speech_encoder.encoder.layers) + 1
        self.layer_size = speech_encoder.config.hidden_size
        self.dropout_while_frozen = dropout_while_frozen
        self.input = StackedMelInput()
        self.frame_rate_hz = self.input.frame_rate_hz
        self.model = speech_encoder

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        with torch.autocast(wave_BT.device.type, enabled=False):
            mels_BFK, frames_B = self.input(wave_BT.float(), lengths_B)
        return Front(self.model.feature_projection(mels_BFK), frames_B)

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """The forward of `SeamlessM4TConformerEncoder`, with every block's output (transformers' `hidden_states` has the
        length adaptor's in place of the last)."""
        encoder = self.model.encoder
        valid_BF = valid_mask(lengths_B, hidden_BFD.shape[1])
        hidden_BFD = hidden_BFD.masked_fill(~valid_BF[..., None], 0)
        hidden_BFD = encoder.dropout(hidden_BFD)
        known = {"attention_mask": self._attention_mask(hidden_BFD, valid_BF), "conv_attention_mask": valid_BF}
        if getattr(encoder, "embed_positions", None) is not None:
            # In fp32: it keeps its table in the type of what it is given, so that bf16 would blunt it for good.
            known["relative_position_embeddings"] = encoder.embed_positions(hidden_BFD.float())
        layers = [hidden_BFD]
        for block in encoder.layers:
            layers.append(block(layers[-1], **known))
        return [*layers[:-1], encoder.layer_norm(layers[-1])]

    def _attention_mask(self, hidden_BFD: Tensor, valid_BF: Tensor) -> Any:
        """In the form that the configured attention wants."""
        from transformers.masking_utils import create_bidirectional_mask

        mask = valid_BF.long()
        if getattr(self.model.config, "speech_encoder_chunk_size", None) is not None:  # version 2
            mask = self.model.encoder._apply_chunk_attention(mask, hidden_BFD)
        return create_bidirectional_mask(config=self.model.config, inputs_embeds=hidden_BFD, attention_mask=mask)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return self.input.num_frames(lengths_B)


class SeamlessM4T(Published, SeamlessStack):
    """The speech encoder of a published SeamlessM4T; text models and vocoder are not loaded.

    Args:
        checkpoint: an id on the hub (`facebook/hf-seamless-m4t-medium`) or a folder written by `save_pretrained`.
        revision: branch, tag or commit on the hub; a folder has none.
        dropout_while_frozen: see `Upstream`.
    """

    kind = KIND

    def __init__(self, *, checkpoint: str, revision: str = "main", dropout_while_frozen: bool = False) -> None:
        loaded = load(checkpoint, revision=revision, kind=KIND)
        super().__init__(loaded.model, dropout_while_frozen=dropout_while_frozen)
        self._record = {**loaded.record(), **size_and_type(self)}
