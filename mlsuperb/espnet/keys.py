"""What ESPnet calls the parameters of our heads, encoders, CTC layer and decoder, both ways.

ESPnet's names are those of `espnet2.asr.espnet_model.ESPnetASRModel`: `preencoder.linear_out.weight`,
`encoder.encoders.0.self_attn.linear_q.weight`, `ctc.ctc_lo.bias`. Ours are those inside the part. All tensors have the
same shape in both. Where ESPnet 202611 renamed a parameter, the older name is meant: see `older_names`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

EncoderKind = Literal["transformer", "conformer", "e_branchformer"]
Pairs = tuple[tuple[str, str], ...]  # (ESPnet's module or parameter, ours)
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names of one part.

    Args:
        part: for messages.
        outer: names outside of blocks.
        blocks: ESPnet's list of blocks; ours is `blocks`.
        inside: names inside a block.
    """

    part: str
    outer: Pairs
    blocks: str = ""
    inside: Pairs = ()

    def ours(self, name: str) -> str:
        """Our name of a parameter or buffer of ESPnet's.

        Raises:
            ValueError: our part has nothing like it.
        """
        found = _renamed(name, self.outer) or _in_block(name, self.blocks, "blocks", self.inside)
        if found is None:
            raise ValueError(
                f"the ESPnet parameter {name} has no counterpart in our {self.part}; models with other layers cannot be imported"
            )
        return found

    def theirs(self, name: str) -> str:
        """ESPnet's name of a parameter or buffer of ours: the inverse of `ours`.

        Raises:
            ValueError: ESPnet has nothing like it.
        """
        found = _renamed(name, _turned(self.outer)) or _in_block(name, "blocks", self.blocks, _turned(self.inside))
        if found is None:
            raise ValueError(f"ESPnet has no counterpart of {name} of our {self.part}")
        return found


def older_names(named: Mapping[str, Value]) -> dict[str, Value]:
    """The parameters of a model under the names of ESPnet 202511 and before.

    From 202611 on the linear layer behind the convolutions of an encoder is `embed.out`, which was `embed.out.0`
    (`espnet2/legacy/nets/pytorch_backend/transformer/subsampling.py`: `_upgrade_legacy_subsampling_state_dict`). With three
    convolutions (`conv2d8`) it always was `embed.out`, and stays so.
    """
    always = "encoder.embed.conv.4.weight" in named
    return {name if always else _EMBED_OUT.sub(r"\1.0.\2", name): value for name, value in named.items()}


_EMBED_OUT = re.compile(r"^(encoder\.embed\.out)\.(weight|bias)$")


def _turned(pairs: Pairs) -> Pairs:
    return tuple((ours, theirs) for theirs, ours in pairs)


def _in_block(name: str, blocks: str, new_blocks: str, pairs: Pairs) -> str | None:
    """A name in a numbered block of `blocks`, in the other's naming."""
    match = re.fullmatch(rf"{blocks}\.(\d+)\.(.+)", name)
    renamed = _renamed(match[2], pairs) if match else None
    return f"{new_blocks}.{match[1]}.{renamed}" if match and renamed else None


def _renamed(name: str, pairs: Pairs) -> str | None:
    for old, new in pairs:
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
    return None


_OUTER: Pairs = (
    ("preencoder.linear_out", "projection"),
    ("encoder.embed.conv.0", "frontend.conv1"),
    ("encoder.embed.conv.2", "frontend.conv2"),
    ("encoder.embed.out.0", "frontend.out"),
    ("encoder.after_norm", "final_norm"),
)
_ATTENTION: Pairs = (
    ("linear_q", "query"),
    ("linear_k", "key"),
    ("linear_v", "value"),
    ("linear_out", "out"),
    ("linear_pos", "position"),
    ("pos_bias_u", "content_bias_NK"),
    ("pos_bias_v", "position_bias_NK"),
)
_FFN: Pairs = (("feed_forward.w_1", "ffn.0"), ("feed_forward.w_2", "ffn.3"))
_MACARON: Pairs = (
    ("feed_forward_macaron.w_1", "macaron.0"),
    ("feed_forward_macaron.w_2", "macaron.3"),
    ("norm_ff_macaron", "macaron_norm"),
)
_NORMS: Pairs = (("norm_ff", "ffn_norm"), ("norm_mha", "attention_norm"), ("norm_final", "final_norm"))


def _attention(module: str) -> Pairs:
    return tuple((f"{module}.{theirs}", f"attention.{ours}") for theirs, ours in _ATTENTION)


_BLOCKS: dict[EncoderKind, Pairs] = {
    "transformer": (*_attention("self_attn"), *_FFN, ("norm1", "attention_norm"), ("norm2", "ffn_norm")),
    "conformer": (
        *_attention("self_attn"),
        *_FFN,
        *_MACARON,
        *_NORMS,
        ("norm_conv", "conv_norm"),
        ("conv_module.pointwise_conv1", "conv.expand"),
        ("conv_module.depthwise_conv", "conv.depthwise"),
        ("conv_module.norm", "conv.norm"),
        ("conv_module.pointwise_conv2", "conv.shrink"),
    ),
    "e_branchformer": (
        *_attention("attn"),
        *_FFN,
        *_MACARON,
        *_NORMS,
        ("norm_mlp", "cgmlp_norm"),
        ("cgmlp.channel_proj1.0", "cgmlp.expand"),
        ("cgmlp.csgu.norm", "cgmlp.gate_norm"),
        ("cgmlp.csgu.conv", "cgmlp.gate_conv"),
        ("cgmlp.channel_proj2", "cgmlp.shrink"),
        ("depthwise_conv_fusion", "merge_conv"),
        ("merge_proj", "merge"),
    ),
}
_HEAD_LAYERS = "linear pre-encoder, conv2d or conv2d2 input layer, blocks"
HEADS: dict[EncoderKind, Names] = {
    kind: Names(part=f"{kind} head ({_HEAD_LAYERS})", outer=_OUTER, blocks="encoder.encoders", inside=inside)
    for kind, inside in _BLOCKS.items()
}
_CONVOLUTIONS: Pairs = tuple((f"encoder.embed.conv.{2 * i}", f"frontend.conv{i + 1}") for i in range(3))
_SELF_CONDITIONING: Pairs = (
    ("ctc.ctc_lo", "conditioning.posteriors"),
    ("encoder.conditioning_layer", "conditioning.back"),
)
_FRONTS: dict[str, Pairs] = {
    "conv2d": (*_CONVOLUTIONS[:2], ("encoder.embed.out.0", "frontend.out")),
    "conv2d8": (*_CONVOLUTIONS, ("encoder.embed.out", "frontend.out")),
    # `CNNFrontend`, a linear pre-encoder, `ConvolutionalPositionalEmbedding`
    "wave": (
        ("frontend.layers", "convolutions.conv_layers"),
        ("preencoder.linear_out", "projection"),
        ("encoder.embed.0.convs.0", "positions.conv"),
        ("util_modules.mask.mask_embedding", "mask_embedding"),
    ),
}
# E-Branchformer encoders that are upstreams, by what stands before their blocks; `encoder.prefix`: embedded tokens, which ESPnet
# looks up outside of its encoder
ENCODERS_ALONE = {
    front: Names(
        part=f"E-Branchformer encoder behind {front}",
        outer=(*pairs, ("encoder.after_norm", "final_norm"), ("encoder.prefix", "prefix_PD"), *_SELF_CONDITIONING),
        blocks="encoder.encoders",
        inside=_BLOCKS["e_branchformer"],
    )
    for front, pairs in _FRONTS.items()
}
CTC_LAYER = Names(part="CTC objective", outer=(("ctc.ctc_lo", "out"),))
DECODER = Names(
    part="Transformer decoder",
    outer=(
        ("decoder.embed.0", "embedding"),
        ("decoder.after_norm", "final_norm"),
        ("decoder.output_layer", "out"),
    ),
    blocks="decoder.decoders",
    inside=(
        *((f"self_attn.{theirs}", f"token_attention.{ours}") for theirs, ours in _ATTENTION[:4]),
        *((f"src_attn.{theirs}", f"frame_attention.{ours}") for theirs, ours in _ATTENTION[:4]),
        *_FFN,
        ("norm1", "token_norm"),
        ("norm2", "frame_norm"),
        ("norm3", "ffn_norm"),
    ),
)
