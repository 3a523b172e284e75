"""ESPnet's tensors, put where they belong: the upstream's into a checkpoint of transformers, the others into our model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlsuperb.espnet.keys import CTC_LAYER, DECODER, HEADS, EncoderKind
from mlsuperb.espnet.upstreams import S3prlUpstream, config_from_shapes, to_transformers
from mlsuperb.runtime.files import write_atomic
from mlsuperb.runtime.messages import listed, some
from mlsuperb.training.checkpoint import save_weights, trained_tensors

# The second: s3prl before its `S3PRLUpstream`; ESPnet reads both (`AbsTask.build_model_from_file`)
UPSTREAM_PREFIXES = ("frontend.upstream.upstream.model.", "frontend.upstream.model.")
LAYER_WEIGHTS, LAYER_LOGITS = "frontend.featurizer.weights", "featurizer.logits_L"
CTC_WEIGHT = "ctc.ctc_lo.weight"
# ESPnet's adapter, in s3prl's own models and in those of transformers -> ours
ADAPTER = re.compile(r"encoder\.layers\.(\d+)\.(adapter|adapter_layer)\.houlsby_adapter\.([02])\.(weight|bias)")
ADAPTER_PLACES = {"adapter": ".feed_forward.output_dropout", "adapter_layer": ""}


def upstream_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the upstream, adapters apart, under s3prl's names; empty where only what was trained was saved."""
    return {_in_upstream(name): tensor for name, tensor in tensors.items() if _is_upstream(name)}


def _in_upstream(name: str) -> str:
    prefix = next((prefix for prefix in UPSTREAM_PREFIXES if name.startswith(prefix)), "")
    return name.removeprefix(prefix)


def _is_upstream(name: str) -> bool:
    return name.startswith(UPSTREAM_PREFIXES) and not ADAPTER.fullmatch(_in_upstream(name))


def write_upstream(folder: Path, weights: Mapping[str, Tensor], *, known: S3prlUpstream, like: str | None) -> None:
    """The upstream as a checkpoint in `folder`, so that a fine-tuned one is what it was and no hub is asked.

    Args:
        weights: under s3prl's names.
        known: what its name tells.
        like: a checkpoint (folder or id on the hub) with the same sizes; None to tell them by the shapes.

    Raises:
        ValueError: a tensor has no counterpart, or the sizes or the normalisation of waves cannot be told.
    """
    from transformers import AutoConfig

    renamed, unknown = to_transformers(weights)
    if unknown:
        raise ValueError(f"{len(unknown)} parameters of the upstream have no counterpart here: {some(sorted(unknown))}")
    settings = config_from_shapes(renamed, model_type=known.model_type) if like is None else _config_of(like)
    AutoConfig.for_model(**settings).save_pretrained(folder)
    save_weights(renamed, folder / "model.safetensors")
    normalise = _normalises(settings, known=known, like=like)
    write_atomic(
        folder / "preprocessor_config.json", [json.dumps({"do_normalize": normalise, "sampling_rate": 16_000})]
    )


def _config_of(checkpoint: str) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        found: dict[str, Any] = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False).to_dict()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"--upstream-checkpoint {checkpoint}: no config.json can be read there ({_first_line(error)})"
        ) from error
    return found


def _normalises(settings: Mapping[str, Any], *, known: S3prlUpstream, like: str | None) -> bool:
    """Whether the model is given normalised waves. fairseq's are where their convolutions have layer norms; those taken
    from transformers obey their own preprocessor_config.json, which for the others says now this, now that."""
    from transformers import Wav2Vec2FeatureExtractor

    if known.kind == "own" or (like is None and settings["feat_extract_norm"] == "layer"):
        return bool(settings["feat_extract_norm"] == "layer")
    try:
        if like is not None:
            return bool(Wav2Vec2FeatureExtractor.from_pretrained(like).do_normalize)
        reason = "none was given"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = _first_line(error)
    raise ValueError(
        f"whether {known.checkpoint} is given normalised waves stands in its preprocessor_config.json, which cannot be read "
        f"({reason}): give --upstream-checkpoint, a folder with it or the id on the hub"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def check_vocabulary(tensors: Mapping[str, Tensor], *, num_tokens: int) -> None:
    """Raise `ValueError` if the CTC layer is not there, or has another size than the list of tokens."""
    if CTC_WEIGHT not in tensors:
        raise ValueError(f"the file of weights has no {CTC_WEIGHT}: it is no recogniser trained with CTC")
    if len(tensors[CTC_WEIGHT]) != num_tokens:
        raise ValueError(
            f"the list of tokens has {num_tokens:,} entries, but the CTC layer {len(tensors[CTC_WEIGHT]):,}: they are not of "
            "one model, or lines of the list were lost"
        )


@torch.no_grad()
def fill(model: nn.Module, tensors: Mapping[str, Tensor], *, encoder: EncoderKind) -> None:
    """Put ESPnet's tensors, those of the upstream apart, into `model`, whose head is ESPnet's `encoder`.

    Raises:
        ValueError: a tensor finds no place, or has another shape than it; a place is left empty.
    """
    places = trained_tensors(model)
    given = {n: t for n, t in tensors.items() if not _is_upstream(n)}
    if LAYER_LOGITS not in places:
        given.pop(LAYER_WEIGHTS, None)  # not read where one layer is taken
    in_ctc = "objective.ctc" if any(name.startswith("objective.ctc.") for name in places) else "objective"
    names = {name: _our_name(name, encoder, in_ctc) for name in given}
    unknown = [name for name in given if names[name] not in places]
    missing = places.keys() - names.values()
    shapes = [name for name, ours in names.items() if ours in places and given[name].shape != places[ours].shape]
    wrong = {"have no place": sorted(unknown), "are missing": sorted(missing), "have another shape": sorted(shapes)}
    if any(wrong.values()):
        raise ValueError(f"the weights do not fit their configuration: of ESPnet's and our parameters, {listed(wrong)}")
    for name, ours in names.items():
        places[ours].copy_(given[name])


def _our_name(name: str, encoder: EncoderKind, in_ctc: str) -> str:
    """In the model, whose CTC layer is in `in_ctc`. Raises `ValueError` where there is none."""
    if name == LAYER_WEIGHTS:
        return LAYER_LOGITS
    if match := ADAPTER.fullmatch(_in_upstream(name)):
        block, kind, layer, parameter = match.groups()
        side = {"0": "down", "2": "up"}[layer]
        return f"upstream.model.encoder.layers.{block}{ADAPTER_PLACES[kind]}.bottleneck.{side}.{parameter}"
    if name.startswith("ctc."):
        return f"{in_ctc}.{CTC_LAYER.ours(name)}"
    if name.startswith("decoder."):
        return f"objective.decoder.{DECODER.ours(name)}"
    return f"head.{HEADS[encoder].ours(name)}"
