"""The upstreams of s3prl: their names, and their parameters under transformers' names.

Source: s3prl 0.4.18, `upstream/{hubert,wav2vec2,wavlm}/hubconf.py` for the names, `upstream/wav2vec2/wav2vec2_model.py`
(fairseq's) for the modules. ESPnet's ML-SUPERB recipes name these and the `hf_*` wrappers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

# s3prl's name -> (model_type in transformers, our option of conf/upstream)
NATIVE = {
    "hubert": ("hubert", "hubert_base"),
    "hubert_base": ("hubert", "hubert_base"),
    "hubert_large_ll60k": ("hubert", "hubert_large"),
    "mhubert_base_vp_en_es_fr_it3": ("hubert", "mhubert_base"),
    "wav2vec2": ("wav2vec2", "wav2vec2_base"),
    "wav2vec2_base_960": ("wav2vec2", "wav2vec2_base"),
    "wav2vec2_large_ll60k": ("wav2vec2", "wav2vec2_large"),
    "wav2vec2_large_lv60_cv_swbd_fsh": ("wav2vec2", "wav2vec2_large_robust"),
    "wav2vec2_large_voxpopuli_100k": ("wav2vec2", "wav2vec2_large_23"),
    "xlsr_53": ("wav2vec2", "xlsr_53"),
    "xls_r_300m": ("wav2vec2", "xls_r_300m"),
    "xls_r_1b": ("wav2vec2", "xls_r_1b"),
    "xls_r_2b": ("wav2vec2", "xls_r_2b"),
    "wavlm_base": ("wavlm", "wavlm_base"),
    "wavlm": ("wavlm", "wavlm_base_plus"),
    "wavlm_base_plus": ("wavlm", "wavlm_base_plus"),
    "wavlm_large": ("wavlm", "wavlm_large"),
}
# names that go with a checkpoint of one's own (path_or_url)
CUSTOM = {"hubert_custom": "hubert", "hubert_local": "hubert", "hubert_url": "hubert", "wavlm_local": "wavlm"} | {
    f"wav2vec2_{kind}": "wav2vec2" for kind in ("custom", "local", "url")
}
WRAPPED = {"hf_wav2vec2_custom": "wav2vec2", "hf_hubert_custom": "hubert"}  # transformers' own models

# Heads are in no tensor's shape: those of the published models of each size (fairseq's configurations).
NUM_HEADS = {768: 12, 1024: 16, 1280: 16, 1920: 16}
CONV_STRIDES = {(10, 3, 3, 3, 3, 2, 2): (5, 2, 2, 2, 2, 2, 2)}  # kernels -> strides, of every published model

# pre-training only
_NOT_USED = re.compile(
    r"(final_proj|label_embs_concat|quantizer|input_quantizer|project_q|project_inp|target_glu)(\.|$)"
)


@dataclass(frozen=True, kw_only=True)
class S3prlUpstream:
    """What is known of an upstream by its name.

    Args:
        model_type: in transformers.
        option: our choice of conf/upstream; None where no checkpoint of ours is known.
        checkpoint: on the hub, where the name says so itself.
        kind: whether s3prl has the model itself, or takes it from transformers.
    """

    model_type: str
    option: str | None
    checkpoint: str | None
    kind: Literal["own", "transformers"]


def find_upstream(name: object, path_or_url: object) -> S3prlUpstream | None:
    """The upstream of an ESPnet configuration; None where it has no counterpart here, or is no name."""
    if not isinstance(name, str) or not isinstance(path_or_url, str | None):
        return None
    if name in NATIVE:
        model_type, option = NATIVE[name]
        return S3prlUpstream(model_type=model_type, option=option, checkpoint=None, kind="own")
    if name in CUSTOM:
        return S3prlUpstream(model_type=CUSTOM[name], option=None, checkpoint=None, kind="own")
    if name in WRAPPED and path_or_url:
        return S3prlUpstream(model_type=WRAPPED[name], option=None, checkpoint=path_or_url, kind="transformers")
    return None


def known_names() -> Iterable[str]:
    """Every name of s3prl that can be imported."""
    return (*NATIVE, *CUSTOM, *WRAPPED)


def to_transformers(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """`tensors` of an s3prl model, whether of its own or a wrapped one, under transformers' names; and the names that
    have no counterpart. What serves pre-training alone is left out."""
    renamed, unknown = {}, []
    wrapped = any(name.startswith("feature_projection.") for name in tensors)
    for name, tensor in tensors.items():
        if _NOT_USED.match(name):
            continue
        new = _weight_norm(name) if wrapped else _from_fairseq(name)
        if new is None:
            unknown.append(name)
        else:
            renamed[new] = tensor.float()
    return renamed, unknown


# Of s3prl's modules -> of transformers' (`HubertModel`, `Wav2Vec2Model`, `WavLMModel`)
_FAIRSEQ = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
        (r"feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?", r"feature_extractor.conv_layers.\1.layer_norm."),
        (r"layer_norm\.", r"feature_projection.layer_norm."),
        (r"post_extract_proj\.", r"feature_projection.projection."),
        (r"encoder\.pos_conv\.0\.", r"encoder.pos_conv_embed.conv."),
        (r"encoder\.layers\.(\d+)\.self_attn\.([qkv]|out)_proj\.", r"encoder.layers.\1.attention.\2_proj."),
        (r"encoder\.layers\.(\d+)\.self_attn\.grep_linear\.", r"encoder.layers.\1.attention.gru_rel_pos_linear."),
        (r"encoder\.layers\.(\d+)\.self_attn\.grep_a$", r"encoder.layers.\1.attention.gru_rel_pos_const"),
        (
            r"encoder\.layers\.0\.self_attn\.relative_attention_bias\.",
            r"encoder.layers.0.attention.rel_attn_embed.",
        ),
        (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
        (r"encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
        (r"encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
        (r"encoder\.layers\.(\d+)\.final_layer_norm\.", r"encoder.layers.\1.final_layer_norm."),
        (r"encoder\.layer_norm\.", r"encoder.layer_norm."),
        (r"mask_emb$", r"masked_spec_embed"),
    )
]


def _from_fairseq(name: str) -> str | None:
    for pattern, replacement in _FAIRSEQ:
        if match := pattern.match(name):
            return _weight_norm(match.expand(replacement) + name[match.end() :])
    return None


def _weight_norm(name: str) -> str:
    """The positional convolution's magnitude and direction as torch's parametrisation calls them."""
    name = re.sub(r"(?<=pos_conv_embed\.conv\.)weight_g$", "parametrizations.weight.original0", name)
    return re.sub(r"(?<=pos_conv_embed\.conv\.)weight_v$", "parametrizations.weight.original1", name)


def config_from_shapes(tensors: Mapping[str, Tensor], *, model_type: str) -> dict[str, Any]:
    """The settings of transformers' configuration of a model with these tensors (transformers' names).

    Two things are in no shape. Norms come first in a block (`do_stable_layer_norm`) in every published model whose
    convolutions have layer norms, and in no other; attention heads and strides are those of the published models.

    Raises:
        ValueError: the sizes are no published model's, or tensors are missing.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    convolutions, blocks = (_number(shapes, prefix) for prefix in ("feature_extractor.conv_layers.", "encoder.layers."))
    position = next((name for name in shapes if name.endswith("conv.parametrizations.weight.original1")), None)
    if position is None or not convolutions or not blocks:
        raise ValueError("the upstream's weights are incomplete: convolutions, positions or blocks are missing")
    conv_shapes = [shapes[f"feature_extractor.conv_layers.{index}.conv.weight"] for index in range(convolutions)]
    kernels = tuple(shape[2] for shape in conv_shapes)
    size, group_size, position_kernel = shapes[position]
    if kernels not in CONV_STRIDES or size not in NUM_HEADS:
        raise ValueError(
            f"the upstream has convolutions {kernels} and size {size}, which is no published model's, so that its strides "
            "or its attention heads are not known: give --upstream-checkpoint, a folder with its config.json"
        )
    layer_norms = "feature_extractor.conv_layers.1.layer_norm.weight" in shapes
    return {
        "model_type": model_type,
        "hidden_size": size,
        "num_hidden_layers": blocks,
        "num_attention_heads": NUM_HEADS[size],
        "intermediate_size": shapes["encoder.layers.0.feed_forward.intermediate_dense.weight"][0],
        "conv_dim": [shape[0] for shape in conv_shapes],
        "conv_kernel": list(kernels),
        "conv_stride": list(CONV_STRIDES[kernels]),
        "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in shapes,
        "feat_extract_norm": "layer" if layer_norms else "group",
        "do_stable_layer_norm": layer_norms,
        "num_conv_pos_embeddings": position_kernel,
        "num_conv_pos_embedding_groups": size // group_size,
    }


def _number(names: Iterable[str], prefix: str) -> int:
    """How many modules are numbered behind `prefix`."""
    return len({name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)})
