"""Reads checkpoints of Omnilingual ASR's self-supervised encoders (`omniASR-W2V-*.pt`), which fairseq2 wrote.

Sources: fairseq2 0.8.1, `models/wav2vec2/` (names of parameters, `interop.py`, preset `large_lv60k`); omnilingual-asr,
`models/wav2vec2_ssl/config.py` (presets `1b`, `3b`, `7b`); arXiv 2511.09690, table 4 (16 heads at every size).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mlsuperb.runtime.messages import listed, one_line, some
from mlsuperb.runtime.tensor_files import read_pickle
from mlsuperb.upstreams.sources import local_folder

NUM_HEADS = 16  # of every published size; nothing in the weights tells
STRIDES = (5, 2, 2, 2, 2, 2, 2)  # of the convolutions; nor these
MASK_EMBEDDING = "masked_spec_embed"
REMEDY = (
    "Give a repository of Omnilingual ASR on the Hugging Face hub (facebook/omniASR-W2V-300M, -1B, -3B or -7B), its file "
    "omniASR-W2V-*.pt, or a folder with that file alone. On a machine without network, fetch it elsewhere with `hf download "
    "facebook/omniASR-W2V-300M` or from https://dl.fbaipublicfiles.com/mms/omniASR-W2V-300M.pt, and either set HF_HOME to the "
    "hub's cache or give the file as upstream.checkpoint."
)
# How names begin in fairseq2 -> in transformers' `Wav2Vec2Model`
_FRONT = {
    "encoder_frontend.feature_extractor.layers.": "feature_extractor.conv_layers.",
    "encoder_frontend.post_extract_layer_norm.": "feature_projection.layer_norm.",
    "encoder_frontend.model_dim_proj.": "feature_projection.projection.",
    "encoder_frontend.pos_encoder.conv.weight_g": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "encoder_frontend.pos_encoder.conv.weight_v": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    "encoder_frontend.pos_encoder.conv.bias": "encoder.pos_conv_embed.conv.bias",
    "encoder.layer_norm.": "encoder.layer_norm.",
    "masker.temporal_mask_embed": MASK_EMBEDDING,
}
# The same in a block (`encoder.layers.0.`)
_BLOCK = {
    **{f"self_attn.{name}_proj": f"attention.{name}_proj" for name in "qkv"},
    "self_attn.output_proj": "attention.out_proj",
    "self_attn_layer_norm": "layer_norm",
    "ffn.inner_proj": "feed_forward.intermediate_dense",
    "ffn.output_proj": "feed_forward.output_dense",
    "ffn_layer_norm": "final_layer_norm",
}
_TRAINING = ("quantizer.", "final_proj.", "final_target_proj.")  # parts that only pre-training needs
# How a name begins that other checkpoints have -> what they are, and what to do
_OTHERS = {
    "llama_decoder.": "a recogniser with a language model (omniASR-LLM): give the encoder that it was made from, omniASR-W2V",
    **dict.fromkeys(
        ("feature_extractor.conv_layers.", "w2v_encoder.", "wav2vec2."),
        "a model of fairseq or transformers: give a folder in the transformers format to upstream=hf",
    ),
}


@dataclass(frozen=True, kw_only=True)
class OmniFile:
    """A checkpoint, and the hub's commit that it is of (None for a file of one's own)."""

    path: Path
    commit: str | None


def local_path(checkpoint: str) -> Path | None:
    """The file or folder that `checkpoint` names, existing or not; None if it is a hub id."""
    path = Path(checkpoint).expanduser()
    return path if path.is_file() or path.suffix == ".pt" else local_folder(checkpoint)


def find_file(checkpoint: str, *, revision: str, fetch: bool = True) -> OmniFile:
    """The one `.pt` of a folder or of a repository on the hub, or the file that is named.

    Args:
        checkpoint: a file, a folder, or a hub id.
        revision: of the hub.
        fetch: download what is not in the cache.

    Raises:
        ValueError: there is none, or more than one.
    """
    place, commit = local_path(checkpoint), None
    if place is None:
        place = _download(checkpoint, revision, fetch=fetch)
        commit = place.name  # a snapshot's folder is called by its commit
    found = [path for path in (sorted(place.glob("*.pt")) if place.is_dir() else [place]) if path.is_file()]
    if len(found) == 1:
        return OmniFile(path=found[0], commit=commit)
    if not place.is_dir():
        problem = "is not there"
    elif found:
        problem = f"holds {len(found)} checkpoints ({some([path.name for path in found])}); name one of them"
    elif (place / "config.json").is_file():
        raise ValueError(
            f"upstream.checkpoint={checkpoint} holds no *.pt but a model in the transformers format: read it with upstream=hf, "
            f"which checks that it has {NUM_HEADS} heads"
        )
    else:
        problem = "holds no *.pt"
    raise ValueError(f"upstream.checkpoint={checkpoint} {problem}. {REMEDY}")


def _download(checkpoint: str, revision: str, *, fetch: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(checkpoint, revision=revision, allow_patterns=["*.pt"], local_files_only=not fetch)
        )
    except (OSError, ValueError) as error:  # ValueError: no such id can be
        reason = (
            f"could not be read: {one_line(error)}"
            if fetch
            else "is not in the hub's cache, and HF_HUB_OFFLINE is set."
        )
        raise ValueError(f"upstream.checkpoint={checkpoint} ({revision}) {reason} {REMEDY}") from error


def read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the encoder and of the mask embedding, under transformers' names, and the config.json of the model that they
    are of. Tensors stay on the disk until they are used.

    Raises:
        ValueError: the file is damaged, or another kind of checkpoint.
    """
    try:
        found = read_pickle(path)
    except ValueError as error:
        raise ValueError(f"upstream.checkpoint: {error}. {REMEDY}") from error
    if isinstance(found, dict) and isinstance(found.get("model"), dict):
        found = found["model"]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"upstream.checkpoint={path} holds no plain dictionary of tensors. {REMEDY}")
    tensors = {str(name).removeprefix("module."): value for name, value in found.items()}  # of distributed training
    if what := _other_kind(tensors):
        raise ValueError(f"upstream.checkpoint={path} is {what}.")
    renamed = {transformers_name(name): value for name, value in tensors.items() if not name.startswith(_TRAINING)}
    if unknown := sorted(
        name for name in tensors if transformers_name(name) is None and not name.startswith(_TRAINING)
    ):
        raise ValueError(
            f"upstream.checkpoint={path} is no wav2vec 2.0 encoder of fairseq2: {listed({'unknown names': unknown})}. {REMEDY}"
        )
    kept = {str(name): value for name, value in renamed.items()}
    return kept, model_config(kept, path=path)


def transformers_name(name: str) -> str | None:
    """What transformers' `Wav2Vec2Model` calls a parameter of fairseq2's `Wav2Vec2Model`; None where it has none such."""
    if match := re.fullmatch(r"(encoder\.layers\.\d+\.)(.+)(\.(?:weight|bias))", name):
        place, module, kind = match.groups()
        return f"{place}{_BLOCK[module]}{kind}" if module in _BLOCK else None
    return next((new + name.removeprefix(old) for old, new in _FRONT.items() if name.startswith(old)), None)


def _other_kind(tensors: Mapping[str, Tensor]) -> str | None:
    """What a checkpoint is that is no such encoder, as far as its names tell."""
    for start, what in _OTHERS.items():
        if any(name.startswith(start) for name in tensors):
            return what
    names = [start for start in _TRAINING if any(name.startswith(start) for name in tensors)]
    if names == ["final_proj."]:  # the output layer, and no quantiser
        return "a recogniser (omniASR-CTC): give the encoder that it was made from, omniASR-W2V"
    return None


def model_config(tensors: Mapping[str, Tensor], *, path: Path) -> dict[str, Any]:
    """Settings of transformers' `Wav2Vec2Config`: sizes are those of the tensors, the rest is fairseq2's.

    Dropout is that of pre-training: none but of the projected features, and that not at 300M (`first_pass_dropout_p`).

    Raises:
        ValueError: a tensor that tells a size is not there.
    """
    try:
        kernels = [
            _shape(tensors, f"feature_extractor.conv_layers.{number}.conv.weight") for number in range(len(STRIDES))
        ]
        hidden, _ = _shape(tensors, "feature_projection.projection.weight")
        inner, _ = _shape(tensors, "encoder.layers.0.feed_forward.intermediate_dense.weight")
        _, per_group, width = _shape(tensors, "encoder.pos_conv_embed.conv.parametrizations.weight.original1")
        if hidden % NUM_HEADS or hidden % per_group:
            raise ValueError(f"{hidden} features do not divide into {NUM_HEADS} heads and groups of {per_group}")
    except ValueError as error:
        raise ValueError(
            f"upstream.checkpoint={path} is no wav2vec 2.0 encoder of fairseq2: {error}. {REMEDY}"
        ) from error
    return {
        "model_type": "wav2vec2",
        "num_hidden_layers": max(_blocks(tensors)) + 1,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": NUM_HEADS,
        "conv_dim": [size for size, _, _ in kernels],
        "conv_kernel": [kernel for _, _, kernel in kernels],
        "conv_stride": list(STRIDES),
        "conv_bias": True,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "num_conv_pos_embeddings": width,
        "num_conv_pos_embedding_groups": hidden // per_group,
        "mask_time_prob": 0.05 if MASK_EMBEDDING in tensors else 0.0,  # not 0: there is an embedding of masked frames
        **dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "layerdrop"), 0.0),
        "feat_proj_dropout": 0.1 if hidden > 1024 else 0.0,
    }


def _blocks(tensors: Mapping[str, Tensor]) -> Iterator[int]:
    for name in tensors:
        if match := re.match(r"encoder\.layers\.(\d+)\.", name):
            yield int(match[1])


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """The shape of a tensor that is needed.

    Raises:
        ValueError: it is not there, or has another number of dimensions.
    """
    if name not in tensors:
        raise ValueError(f"it has no {name}")
    shape = tuple(tensors[name].shape)
    expected = 3 if "conv" in name else 2
    if len(shape) != expected or 0 in shape:
        raise ValueError(f"its {name} has the shape {shape}")
    return shape
