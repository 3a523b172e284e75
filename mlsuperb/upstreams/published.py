"""What upstreams with published weights share, and how many blocks a checkpoint has before its weights are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.checkpoint import Kind, checkpoint_problems
from mlsuperb.upstreams.sources import CONFIG, local_folder, read_json

# Where config.json says it: for encoders alone `num_hidden_layers`, for other models the size of their speech encoder, which may
# have an object of its own
_DEPTHS = {
    "whisper": ("encoder_layers",),
    **dict.fromkeys(("seamless_m4t", "seamless_m4t_v2"), ("speech_encoder_layers",)),
    "voxtral": ("audio_config", "num_hidden_layers"),
    **dict.fromkeys(
        ("parakeet_ctc", "parakeet_rnnt", "parakeet_tdt", "canary"), ("encoder_config", "num_hidden_layers")
    ),
}


class Published(Upstream):
    """An upstream that is read from a checkpoint of transformers (settings `checkpoint` and `revision`).

    Attributes:
        kind: which checkpoints it reads.
    """

    kind: ClassVar[Kind]

    @classmethod
    def problems(cls, *, checkpoint: str, revision: str = "main", **_others: object) -> list[str]:
        """What can be said against the checkpoint without network or weights."""
        return checkpoint_problems(checkpoint, revision=revision, kind=cls.kind)

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        """See `Upstream.depth`; None where config.json is not on this machine, or does not say it."""
        checkpoint, folder = settings["checkpoint"], local_folder(settings["checkpoint"])
        if folder is None:
            from huggingface_hub import try_to_load_from_cache

            cached = try_to_load_from_cache(checkpoint, CONFIG, revision=settings["revision"])
            path = Path(cached) if isinstance(cached, str) else None
        else:
            path = folder / CONFIG
        if path is None or not path.is_file():
            return None
        depth: Any = read_json(path)
        for name in _DEPTHS.get(str(depth.get("model_type")), ("num_hidden_layers",)):
            depth = depth.get(name) if isinstance(depth, dict) else None
        return depth if isinstance(depth, int) else None
