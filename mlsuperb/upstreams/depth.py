"""How many Transformer blocks a checkpoint has, before its weights are read."""

from __future__ import annotations

import json
from pathlib import Path

from mlsuperb.upstreams.checkpoint import local_folder

# Where config.json says it: of encoders alone `num_hidden_layers`, of others their speech encoder's
_NAMES = {
    "whisper": "encoder_layers",
    "seamless_m4t": "speech_encoder_layers",
    "seamless_m4t_v2": "speech_encoder_layers",
}


def known_depth(checkpoint: str, revision: str) -> int | None:
    """What config.json says; None where it is not on this machine, or does not say it."""
    folder = local_folder(checkpoint)
    if folder is None:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(checkpoint, "config.json", revision=revision)
        path = Path(cached) if isinstance(cached, str) else None
    else:
        path = folder / "config.json"
    if path is None or not path.is_file():
        return None
    config = json.loads(path.read_text(encoding="utf-8"))
    depth = config.get(_NAMES.get(config.get("model_type"), "num_hidden_layers"))
    return depth if isinstance(depth, int) else None
