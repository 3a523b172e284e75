"""Parts of a pre-training job that are sound alone but do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.utils import get_object


def layer_misfits(config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """A layer that the upstream will not have, where its settings tell how deep it is."""
    if not {"upstream", "extraction"} <= set(groups):
        return
    upstream, layer = config["upstream"], config["extraction"].get("layer", 0)
    depth = get_object(upstream["_target_"]).depth(upstream)
    if depth is not None and layer > depth:
        yield f"extraction.layer={layer}, but upstream={upstream['name']} has the layers 0 to {depth}"
