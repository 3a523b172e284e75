"""A HuBERT in transformers' layout, with its prediction head where it has one, as a checkpoint file of fairseq."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlsuperb.pretraining.fairseq_file import SPECIAL, write_checkpoint
from mlsuperb.pretraining.fairseq_names import OVERRULED, fairseq_names, to_fairseq
from mlsuperb.pretraining.head import HEAD_FILE, StoredHead
from mlsuperb.upstreams.base import SAMPLE_RATE_HZ
from mlsuperb.upstreams.checkpoint import Loaded, load
from mlsuperb.upstreams.huggingface import EXPORT_FILE, KIND
from mlsuperb.upstreams.sources import read_json

_COMPLETE = replace(KIND, unused=())  # with the embedding of masked frames, which features alone have no use of


def export_fairseq(folder: Path, file: Path) -> int | None:
    """Write the HuBERT of `folder` to `file` as fairseq saves it; returns the number of units of its prediction head.

    A folder without a head gives a checkpoint that fairseq can fine-tune, but neither continue nor load by itself
    (`load_model_ensemble_and_task` is strict). Settings of fairseq that are recorded in the folder are kept.

    Raises:
        ValueError: `folder` holds no HuBERT of fairseq's architecture, or is damaged; `file` is there already.
    """
    if file.exists():
        raise ValueError(
            f"{file} is there already and will not be overwritten: give another name, or remove it yourself"
        )
    loaded = load(str(folder), revision="main", kind=_COMPLETE)
    config: Any = loaded.model.config
    if config.model_type != "hubert":
        raise ValueError(
            f"{folder} holds a model of type {config.model_type}; only a HuBERT can be exported to fairseq"
        )
    weights = loaded.model.state_dict()
    if "masked_spec_embed" not in weights:
        raise ValueError(
            f"{folder} has no embedding of masked frames (config.json: mask_time_prob and mask_feature_prob are 0), and every "
            "HuBERT of fairseq has one. Export the model as it was pre-trained"
        )
    names = fairseq_names(weights, feat_extract_norm=config.feat_extract_norm)
    tensors = {names[name]: tensor for name, tensor in weights.items()}
    head, head_settings = _read_head(folder)
    about = read_json(folder / EXPORT_FILE) if (folder / EXPORT_FILE).is_file() else {}
    cfg = _cfg(loaded, head_settings, recorded=_sections(about.get("cfg")))
    num_units = len(head["label_embs_concat"]) - len(SPECIAL) if head else None
    updates = about.get("source", {}).get("updates") or 0
    file.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(file, tensors | head, cfg=cfg, num_units=num_units, updates=updates)
    return num_units


def _sections(cfg: Any) -> dict[str, Any]:
    """The recorded settings of fairseq if they are in sections; the flat ones of old files are of no use to new versions."""
    return cfg if isinstance(cfg, dict) and all(isinstance(cfg.get(name), dict) for name in ("model", "task")) else {}


def _read_head(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The prediction head under fairseq's names, and the model's settings that go with it; both empty where the folder has
    none. Where the units do not follow rows for fairseq's four special symbols, such rows are drawn as fairseq draws them
    (uniformly from 0 to 1)."""
    if not (folder / HEAD_FILE).is_file():
        return {}, {}
    head = StoredHead.read(folder)
    projection = {name: head.tensors[name] for name in ("final_proj.weight", "final_proj.bias")}
    embeddings, num_special = head.tensors["label_embeddings"], head.num_special
    if num_special != len(SPECIAL):
        drawn = torch.rand(len(SPECIAL), embeddings.shape[1], generator=torch.Generator().manual_seed(0))
        embeddings = torch.cat([drawn, embeddings[num_special:]])
    settings = {
        "final_dim": embeddings.shape[1],
        "untie_final_proj": True,  # with one set of labels it makes no difference
        "logit_temp": head.temperature,
        "label_rate": head.label_rate_hz,
    }
    return {**projection, "label_embs_concat": embeddings}, settings


def _cfg(loaded: Loaded, head: Mapping[str, Any], *, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """fairseq's settings: those that were recorded, and over them what the folder says. Whatever else is left out gets the
    default of `HubertConfig` and `HubertPretrainingConfig` when fairseq loads it."""
    config: Any = loaded.model.config
    model, task = recorded.get("model", {}), recorded.get("task", {})
    prepared = loaded.preprocessor or {"do_normalize": config.feat_extract_norm == "layer"}
    frame_rate_hz = SAMPLE_RATE_HZ / math.prod(config.conv_stride)
    rate_hz = float(head.get("label_rate", task.get("label_rate", frame_rate_hz)))
    shared = {"label_rate": int(rate_hz) if rate_hz.is_integer() else rate_hz}  # older versions take whole numbers only
    return {
        **recorded,
        "model": {**OVERRULED, **model, "_name": "hubert", **to_fairseq(config), **head, **shared},
        "task": {
            "data": "",
            "labels": ["km"],
            **task,
            **shared,
            "_name": task.get("_name", "hubert_pretraining"),
            "sample_rate": SAMPLE_RATE_HZ,
            "normalize": bool(prepared.get("do_normalize", True)),
        },
    }
