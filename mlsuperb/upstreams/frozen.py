"""Features of a frozen upstream, which do not depend on the batch that an utterance is in.

Letters: L layers, B batch, T samples, F frames, D feature size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from mlsuperb.types import Features
from mlsuperb.upstreams.base import Upstream


def frozen_features(upstream: Upstream, wave_BT: Tensor, lengths_B: Tensor) -> Features:
    """All layers of an upstream in which nothing is trained, as `Upstream.forward` returns them.

    The shape of a batch decides in which order sums are formed, and so the last bits of every layer. On a CPU each utterance
    is therefore encoded alone, which takes about as long there (`scripts/bench/frozen_alone.py`). A GPU, on which kernels
    may add in another order anyway, encodes the batch; so does an upstream whose dropout is on.
    """
    if wave_BT.device.type != "cpu" or upstream.training:
        features: Features = upstream(wave_BT, lengths_B)
        return features
    # copies: kernels may add in another order where memory is aligned otherwise
    waves = [wave_BT[row : row + 1, :length].clone() for row, length in enumerate(lengths_B.tolist())]
    with torch.no_grad(), _weights_made_once(upstream):
        alone = [upstream(wave_1T, lengths_B[row : row + 1]) for row, wave_1T in enumerate(waves)]
    frames_B = torch.cat([one.lengths_B for one in alone])
    layers = tuple(_padded(same, frames_B) for same in zip(*(one.layers for one in alone), strict=True))
    return Features(layers, frames_B, upstream.frame_rate_hz)


@contextmanager
def _weights_made_once(upstream: Upstream) -> Iterator[None]:
    """Inside, what is computed from weights alone is computed once and not for each utterance: those under weight norm, and the
    bf16 copies of `torch.autocast`, which keeps the copies of what requires a gradient until it ends."""
    frozen = [one for one in upstream.parameters() if one.is_floating_point() and not one.requires_grad]
    for one in frozen:
        one.requires_grad_(True)
    try:
        with parametrize.cached():
            yield
    finally:
        for one in frozen:
            one.requires_grad_(False)


def _padded(layers: Sequence[Tensor], frames_B: Tensor) -> Tensor:
    """One layer (1, F, D) of each utterance as (B, F, D), zero beyond its frames."""
    padded_BFD = layers[0].new_zeros((len(layers), int(frames_B.max()), layers[0].shape[-1]))
    for row, (layer_1FD, num_frames) in enumerate(zip(layers, frames_B.tolist(), strict=True)):
        padded_BFD[row, :num_frames] = layer_1FD[0, :num_frames]
    return padded_BFD
