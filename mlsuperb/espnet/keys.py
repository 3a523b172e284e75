"""What ESPnet calls the parameters of our heads, CTC layer and decoder, both ways.

ESPnet's names are those of `espnet2.asr.espnet_model.ESPnetASRModel`: `preencoder.linear_out.weight`,
`encoder.encoders.0.self_attn.linear_q.weight`, `ctc.ctc_lo.bias`. Ours are those inside the part. All tensors have the
same shape in both.
"""

from __future__ import annotations

import re
from typing import Literal

EncoderKind = Literal["transformer", "conformer", "e_branchformer"]
Pairs = tuple[tuple[str, str], ...]  # (ESPnet's module or parameter, ours)

_OUTER: Pairs = (
    ("preencoder.linear_out", "projection"),
    ("encoder.embed.conv.0", "frontend.conv1"),
    ("encoder.embed.conv.2", "frontend.conv2"),
    ("encoder.embed.out.0", "frontend.out"),
    ("encoder.after_norm", "final_norm"),
)
_HEAD_BLOCKS, _DECODER_BLOCKS, _OUR_BLOCKS = "encoder.encoders", "decoder.decoders", "blocks"
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
_CTC: Pairs = (("ctc.ctc_lo", "out"),)
_DECODER: Pairs = (
    ("decoder.embed.0", "embedding"),
    ("decoder.after_norm", "final_norm"),
    ("decoder.output_layer", "out"),
)
_DECODER_BLOCK: Pairs = (
    *((f"self_attn.{theirs}", f"token_attention.{ours}") for theirs, ours in _ATTENTION[:4]),
    *((f"src_attn.{theirs}", f"frame_attention.{ours}") for theirs, ours in _ATTENTION[:4]),
    *_FFN,
    ("norm1", "token_norm"),
    ("norm2", "frame_norm"),
    ("norm3", "ffn_norm"),
)


def head_name(espnet_name: str, *, encoder: EncoderKind) -> str:
    """Our name, inside a head, of a parameter or buffer of ESPnet's pre-encoder or encoder.

    Raises:
        ValueError: our head has nothing like it.
    """
    ours = _renamed(espnet_name, _OUTER) or _in_block(espnet_name, _HEAD_BLOCKS, _OUR_BLOCKS, _BLOCKS[encoder])
    if ours is None:
        raise ValueError(
            f"the ESPnet parameter {espnet_name} has no counterpart in our {encoder} head, which has the layers of "
            "ESPnet's linear pre-encoder, its conv2d or conv2d2 input layer and its encoder blocks. Models with other "
            "layers cannot be imported"
        )
    return ours


def espnet_head_name(our_name: str, *, encoder: EncoderKind) -> str:
    """ESPnet's name of a parameter or buffer of our head: the inverse of `head_name`."""
    inside = _turned(_BLOCKS[encoder])
    theirs = _renamed(our_name, _turned(_OUTER)) or _in_block(our_name, _OUR_BLOCKS, _HEAD_BLOCKS, inside)
    if theirs is None:
        raise ValueError(f"ESPnet's {encoder} encoder has no counterpart of {our_name}")
    return theirs


def ctc_name(espnet_name: str) -> str:
    """Our name, inside the objective CTC, of a parameter of ESPnet's `ctc`.

    Raises:
        ValueError: there is none.
    """
    if (ours := _renamed(espnet_name, _CTC)) is None:
        raise ValueError(f"the ESPnet parameter {espnet_name} has no counterpart in our CTC objective")
    return ours


def espnet_ctc_name(our_name: str) -> str:
    """ESPnet's name of a parameter of our objective CTC: the inverse of `ctc_name`."""
    if (theirs := _renamed(our_name, _turned(_CTC))) is None:
        raise ValueError(f"ESPnet's CTC layer has no counterpart of {our_name}")
    return theirs


def decoder_name(espnet_name: str) -> str:
    """Our name, inside the decoder of the objective CTCAttention, of a parameter of ESPnet's `decoder`.

    Raises:
        ValueError: there is none.
    """
    ours = _renamed(espnet_name, _DECODER) or _in_block(espnet_name, _DECODER_BLOCKS, _OUR_BLOCKS, _DECODER_BLOCK)
    if ours is None:
        raise ValueError(f"the ESPnet parameter {espnet_name} has no counterpart in our Transformer decoder")
    return ours


def espnet_decoder_name(our_name: str) -> str:
    """ESPnet's name of a parameter of our decoder: the inverse of `decoder_name`."""
    inside = _turned(_DECODER_BLOCK)
    theirs = _renamed(our_name, _turned(_DECODER)) or _in_block(our_name, _OUR_BLOCKS, _DECODER_BLOCKS, inside)
    if theirs is None:
        raise ValueError(f"ESPnet's decoder has no counterpart of {our_name}")
    return theirs


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
