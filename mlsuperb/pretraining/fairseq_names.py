"""What fairseq and transformers call the parameters and the settings of a HuBERT, both ways.

Sources: fairseq 0.12.2, `models/hubert/hubert.py` (`HubertConfig`), `models/wav2vec/wav2vec2.py`; transformers 4,
`convert_hubert_original_pytorch_checkpoint_to_pytorch.py`. All tensors have the same shape in both.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import HubertConfig

# Of a parameter's name in transformers' HubertModel -> in fairseq's; whatever none of them matches is the same in both
_NAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
        (r"^feature_projection\.layer_norm\.", "layer_norm."),
        (r"^feature_projection\.projection\.", "post_extract_proj."),
        (r"^masked_spec_embed$", "mask_emb"),
        (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0$", "encoder.pos_conv.0.weight_g"),
        (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1$", "encoder.pos_conv.0.weight_v"),
        (r"^encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
        (r"^encoder\.layers\.(\d+)\.attention\.", r"encoder.layers.\1.self_attn."),
        (r"^encoder\.layers\.(\d+)\.layer_norm\.", r"encoder.layers.\1.self_attn_layer_norm."),
        (r"^encoder\.layers\.(\d+)\.feed_forward\.intermediate_dense\.", r"encoder.layers.\1.fc1."),
        (r"^encoder\.layers\.(\d+)\.feed_forward\.output_dense\.", r"encoder.layers.\1.fc2."),
    )
)
_CONV_NORM = re.compile(r"^feature_extractor\.conv_layers\.(\d+)\.layer_norm\.")
# `extractor_mode` -> (`feat_extract_norm`, where the norm of a convolution is in fairseq's list of modules)
_EXTRACTORS = {"default": ("group", "2"), "layer_norm": ("layer", "2.1")}

# fairseq's setting -> (transformers', fairseq's default)
_SETTINGS: dict[str, tuple[str, Any]] = {
    "encoder_layers": ("num_hidden_layers", 12),
    "encoder_embed_dim": ("hidden_size", 768),
    "encoder_ffn_embed_dim": ("intermediate_size", 3072),
    "encoder_attention_heads": ("num_attention_heads", 12),
    "dropout": ("hidden_dropout", 0.1),
    "attention_dropout": ("attention_dropout", 0.1),
    "activation_dropout": ("activation_dropout", 0.0),
    "encoder_layerdrop": ("layerdrop", 0.0),
    "dropout_input": ("feat_proj_dropout", 0.0),
    "layer_norm_first": ("do_stable_layer_norm", False),
    "conv_bias": ("conv_bias", False),
    "conv_pos": ("num_conv_pos_embeddings", 128),
    "conv_pos_groups": ("num_conv_pos_embedding_groups", 16),
}
# What fairseq's HuBERT always is and transformers' need not be
_FIXED = {"hidden_act": "gelu", "feat_extract_activation": "gelu", "feat_proj_layer_norm": True, "layer_norm_eps": 1e-5}
# Settings without counterpart, with fairseq's defaults. Fine-tuning (`HubertEncoder`) sets them, but `overwrite_args_by_name`
# passes over those that are not in the checkpoint, so they have to be there.
OVERRULED: dict[str, Any] = {
    "feature_grad_mult": 1.0,
    "mask_prob": 0.65,
    "mask_length": 10,
    "mask_selection": "static",
    "mask_other": 0,
    "no_mask_overlap": False,
    "mask_channel_prob": 0.0,
    "mask_channel_length": 10,
    "mask_channel_selection": "static",
    "mask_channel_other": 0,
    "no_mask_channel_overlap": False,
}
_CONVOLUTIONS = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
_MAX_CONVOLUTIONS, _MAX_LETTERS = 64, 1000


def fairseq_names(names: Iterable[str], *, feat_extract_norm: str) -> dict[str, str]:
    """transformers' name of each parameter -> fairseq's.

    Args:
        names: those of a `HubertModel`.
        feat_extract_norm: as in its configuration: `group` or `layer`.
    """
    inside = dict(_EXTRACTORS.values())[feat_extract_norm]
    rules = ((_CONV_NORM, rf"feature_extractor.conv_layers.\1.{inside}."), *_NAMES)
    return {name: _renamed(name, rules) for name in names}


def _renamed(name: str, rules: Iterable[tuple[re.Pattern[str], str]]) -> str:
    for pattern, replacement in rules:
        renamed, count = pattern.subn(replacement, name)
        if count:
            return renamed
    return name


def to_transformers(model: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of transformers' `HubertConfig` for the settings of a fairseq HuBERT.

    `mask_time_prob` stays transformers' default, as in the published models: it is what fine-tuning masks with, whereas
    fairseq's `mask_prob` (0.8) is that of pre-training.

    Raises:
        ValueError: a setting has no counterpart.
    """
    mode, activation = model.get("extractor_mode", "default"), model.get("activation_fn", "gelu")
    if mode not in _EXTRACTORS or activation != "gelu":
        raise ValueError(
            f"extractor_mode is {mode!r} and activation_fn {activation!r}; a HuBERT can be imported with extractor_mode "
            f"{' or '.join(_EXTRACTORS)} and activation_fn gelu, as all published ones have"
        )
    convolutions = parse_convolutions(model.get("conv_feature_layers", _CONVOLUTIONS))
    sizes, kernels, strides = (list(column) for column in zip(*convolutions, strict=True))
    return {
        **{ours: model.get(name, default) for name, (ours, default) in _SETTINGS.items()},
        "feat_extract_norm": _EXTRACTORS[mode][0],
        "conv_dim": sizes,
        "conv_kernel": kernels,
        "conv_stride": strides,
    }


def to_fairseq(config: HubertConfig) -> dict[str, Any]:
    """The settings of a fairseq HuBERT of the same architecture and dropouts: the inverse of `to_transformers`.

    Raises:
        ValueError: fairseq has no such HuBERT.
    """
    other = {name: getattr(config, name) for name, value in _FIXED.items() if getattr(config, name) != value}
    if other:
        raise ValueError(
            f"config.json has {other}, where a HuBERT of fairseq always has {_FIXED}: it cannot be exported"
        )
    convolutions = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
    return {
        **{name: getattr(config, ours) for name, (ours, _) in _SETTINGS.items()},
        "activation_fn": "gelu",
        "extractor_mode": next(mode for mode, (norm, _) in _EXTRACTORS.items() if norm == config.feat_extract_norm),
        "conv_feature_layers": str(list(convolutions)),
    }


def parse_convolutions(text: str) -> list[tuple[int, int, int]]:
    """(channels, kernel, stride) of each convolution of `conv_feature_layers`, which fairseq evaluates as Python. Here it
    is read as lists of three whole numbers, their sums and their multiples, and nothing else.

    Raises:
        ValueError: it is anything else.
    """
    try:
        if len(text) > _MAX_LETTERS:
            raise ValueError("too long")
        layers = _list(ast.parse(text, mode="eval").body)
        if not layers or any(len(layer) != 3 or min(layer) < 1 for layer in layers):
            raise ValueError("no list of three positive numbers each")
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"conv_feature_layers is {str(text)[:200]!r}, but has to be lists of (channels, kernel, stride), their sums and "
            f"multiples, as in {_CONVOLUTIONS!r}; nothing else in it is evaluated"
        ) from error
    return [(channels, kernel, stride) for channels, kernel, stride in layers]


def _list(node: ast.expr) -> list[tuple[int, ...]]:
    match node:
        case ast.List():
            found: list[tuple[int, ...]] = [tuple(map(_number, _elements(one))) for one in node.elts]
        case ast.BinOp(op=ast.Add()):
            found = _list(node.left) + _list(node.right)
        case ast.BinOp(op=ast.Mult()):
            found = _list(node.left) * min(_number(node.right), _MAX_CONVOLUTIONS + 1)
        case _:
            raise ValueError(ast.dump(node))
    if len(found) > _MAX_CONVOLUTIONS:
        raise ValueError(f"more than {_MAX_CONVOLUTIONS} convolutions")
    return found


def _elements(node: ast.expr) -> list[ast.expr]:
    if not isinstance(node, (ast.Tuple, ast.List)):
        raise ValueError(ast.dump(node))
    return node.elts


def _number(node: ast.expr) -> int:
    if not isinstance(node, ast.Constant) or type(node.value) is not int:
        raise ValueError(ast.dump(node))
    return node.value
