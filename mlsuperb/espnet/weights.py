"""ESPnet's tensors, put where they belong: the upstream's into a checkpoint of transformers, the others into our model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlsuperb.espnet.keys import EncoderKind, ctc_name, head_name
from mlsuperb.espnet.upstreams import config_from_shapes, to_transformers
from mlsuperb.files import write_atomic
from mlsuperb.training.checkpoint import save_weights, trained_tensors

# The second: s3prl before its `S3PRLUpstream`; ESPnet reads both (`AbsTask.build_model_from_file`)
UPSTREAM_PREFIXES = ("frontend.upstream.upstream.model.", "frontend.upstream.model.")
LAYER_WEIGHTS, LAYER_LOGITS = "frontend.featurizer.weights", "featurizer.logits_L"
CTC_WEIGHT = "ctc.ctc_lo.weight"
CONSTANTS = ("frontend.logmel.melmat",)  # follow from the settings


def upstream_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the upstream, under s3prl's names; empty where only what was trained was saved."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        for prefix in UPSTREAM_PREFIXES
        if name.startswith(prefix)
    }


def write_upstream(folder: Path, weights: Mapping[str, Tensor], *, model_type: str, like: str | None) -> None:
    """The upstream as a checkpoint in `folder`, so that a fine-tuned one is what it was and no hub is asked.

    Args:
        weights: under s3prl's names.
        model_type: in transformers.
        like: a checkpoint (folder or id on the hub) with the same sizes; None to tell them by the shapes.

    Raises:
        ValueError: a tensor has no counterpart, or the sizes cannot be told.
    """
    from transformers import AutoConfig

    renamed, unknown = to_transformers(weights)
    if unknown:
        raise ValueError(f"{len(unknown)} parameters of the upstream have no counterpart here: {some(unknown)}")
    if like is None:
        settings = config_from_shapes(renamed, model_type=model_type)
    else:
        try:
            settings = AutoConfig.from_pretrained(like).to_dict()
        except (OSError, ValueError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise ValueError(
                f"--upstream-checkpoint {like}: no config.json can be read there ({first_line})"
            ) from error
    AutoConfig.for_model(**settings).save_pretrained(folder)
    save_weights(renamed, folder / "model.safetensors")
    # fairseq's models were trained on normalised waves where their convolutions have layer norms
    normalise = settings.get("feat_extract_norm") == "layer"
    write_atomic(
        folder / "preprocessor_config.json", [json.dumps({"do_normalize": normalise, "sampling_rate": 16_000})]
    )


def check_vocabulary(tensors: Mapping[str, Tensor], *, num_tokens: int) -> None:
    """Raises:
    ValueError: the CTC layer is not there, or has another size than the list of tokens.
    """
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
    dropped = CONSTANTS if LAYER_LOGITS in places else (*CONSTANTS, LAYER_WEIGHTS)  # one layer: not read
    given = {n: t for n, t in tensors.items() if n not in dropped and not n.startswith(UPSTREAM_PREFIXES)}
    names = {name: _our_name(name, encoder) for name in given}
    unknown = [name for name in given if names[name] not in places]
    missing = places.keys() - names.values()
    shapes = [name for name, ours in names.items() if ours in places and given[name].shape != places[ours].shape]
    wrong = {"have no place": unknown, "are missing": missing, "have another shape": shapes}
    if any(wrong.values()):
        listed = "; ".join(f"{len(found)} {what} ({some(found)})" for what, found in wrong.items() if found)
        raise ValueError(f"the weights do not fit their configuration: of ESPnet's and our parameters, {listed}")
    for name, ours in names.items():
        places[ours].copy_(given[name])


def _our_name(name: str, encoder: EncoderKind) -> str:
    """In the model. Raises `ValueError` where there is none."""
    if name == LAYER_WEIGHTS:
        return LAYER_LOGITS
    if name.startswith("ctc."):
        return f"objective.{ctc_name(name)}"
    return f"head.{head_name(name, encoder=encoder)}"


def some(names: Iterable[Any], *, at_most: int = 5) -> str:
    """The first few of `names`."""
    ordered = sorted(names)
    return ", ".join(ordered[:at_most]) + (", ..." if len(ordered) > at_most else "")
