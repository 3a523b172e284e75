"""Which Transformer blocks an adaptation works on. Blocks count from 1, as in the papers; block i makes layer i of the
hidden states, whose layer 0 is the input of the first."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import PositiveInt
from torch import nn

# One block, a range with both ends ("9-14"), a list of blocks, "bottom", "middle" or "top", None for all.
Layers = PositiveInt | str | list[PositiveInt] | None

SHARE = 4  # a quarter of the blocks
MAX_PARAMETERS = 90_000_000  # leaves a tenth of the 100 M of ML-SUPERB 2.0 to head and featurizer
# Where in the stack the chosen blocks are centred: 9-14 of 24 lie between 8 and 14, around 11.
PLACES = {"bottom": 0.0, "middle": 11 / 24, "top": 1.0}


def layers_problems(layers: Layers) -> list[str]:
    """What is wrong with a choice of blocks, whatever the upstream."""
    if isinstance(layers, list):
        fine = bool(layers) and min(layers) >= 1 and len(set(layers)) == len(layers)
    elif isinstance(layers, str) and layers not in PLACES:
        ends = _ends(layers)
        fine = ends is not None and 1 <= ends[0] <= ends[1]
    else:
        fine = not isinstance(layers, int) or layers >= 1
    if fine:
        return []
    return [
        f"adaptation.layers is {layers!r}, but must be null for all blocks, a block (3), a range with both ends (1-6, blocks "
        f"count from 1), a list of different blocks ([1, 3]), or one of {', '.join(PLACES)}."
    ]


def depth_problems(layers: Layers, depth: int) -> list[str]:
    """What is wrong with a choice of blocks for an upstream that has `depth` of them."""
    named = _ends(layers) if isinstance(layers, str) else layers  # "bottom" and the like name none
    if (max(named) if isinstance(named, (list, tuple)) else named or 0) <= depth:
        return []
    return [
        f"adaptation.layers is {layers!r}, but this upstream has {depth} Transformer blocks, which count from 1. Choose "
        f"among 1-{depth}."
    ]


def choose_blocks(layers: Layers, blocks: Sequence[nn.Module]) -> list[int]:
    """The chosen ones of `blocks`, counted from 0, in order.

    `bottom`, `middle` and `top` are 1-6, 9-14 and 19-24 of XLS-R-300M's 24 blocks (ML-SUPERB 2.0; unverified). Elsewhere
    they are as many blocks as are at most a quarter of all and hold at most 90 M parameters together, but at least one:
    4 of MMS-1B's 48 (19.7 M each), 3 of HuBERT-base's 12; `middle` is centred at 11/24 of the depth.

    Raises:
        ValueError: there are fewer blocks.
    """
    depth = len(blocks)
    if found := depth_problems(layers, depth):
        raise ValueError(found[0])
    if layers is None:
        return list(range(depth))
    if isinstance(layers, str) and layers in PLACES:
        size = sum(parameter.numel() for parameter in blocks[0].parameters())
        count = max(1, min(depth // SHARE, MAX_PARAMETERS // size))
        first = round(PLACES[layers] * depth - count / 2)
        first = min(max(first, 0), depth - count)
        return list(range(first, first + count))
    if isinstance(layers, str):
        ends = _ends(layers)
        assert ends, "checked by layers_problems"
        chosen = list(range(ends[0], ends[1] + 1))
    else:
        chosen = sorted(layers) if isinstance(layers, list) else [layers]
    return [block - 1 for block in chosen]


def _ends(layers: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", layers)
    return (int(match[1]), int(match[2] or match[1])) if match else None
