"""Voxtral's audio encoder: Whisper large-v3's, trained further with a language model behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlsuperb.upstreams import whisper
from mlsuperb.upstreams.checkpoint import type_problems

_TYPES = ("voxtral", "voxtral_encoder")


def config_problems(config: dict[str, Any]) -> list[str]:
    """Why a model of this config.json cannot be an upstream, a sentence each."""
    return type_problems(config, supported=dict.fromkeys(_TYPES, "Voxtral"))


def features(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """How audio is prepared for a model of this config.json (`Kind.features`)."""
    encoder = config.get("audio_config", config)  # of a whole Voxtral, or the encoder alone
    return whisper.features({"num_mel_bins": 128, **(encoder if isinstance(encoder, dict) else {})})


class Voxtral(whisper.Whisper):
    """The audio encoder of a published Voxtral, with the log-mels and pieces of `WhisperStack`; the language model is not loaded.

    The last layer is after the final layer norm. What follows in the original leads to the language model and is left out: four
    frames side by side (12.5 a second), a projector. The original always pads to 30 s (`pad_to_30s=true`) and cuts longer audio
    into 30 s, as is done here. Its positions come from the checkpoint.

    Of a checkpoint on the hub only the files (shards) that hold the encoder are fetched, of one in a folder only these have to
    be there.

    Args:
        checkpoint: an id on the hub (`mistralai/Voxtral-Mini-3B-2507`) or a folder written by `save_pretrained`.
        revision: branch, tag or commit on the hub; a folder has none.
        pad_to_30s, dropout_while_frozen: see `WhisperStack`.
    """

    kind = replace(
        whisper.KIND,
        classes=dict.fromkeys(_TYPES, "models.voxtral.modeling_voxtral.VoxtralEncoder"),
        config_problems=config_problems,
        features=features,
        renamed={r"^(model\.)?audio_tower\.": ""},
    )
