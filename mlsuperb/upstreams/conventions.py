"""How a self-supervised model is run on waves: as its checkpoint says, or as s3prl runs it, which is what ESPnet's
`S3prlFrontend` gives a model and so what the published rows of ML-SUPERB 1.0 were trained on (s3prl 0.4.18, nn/upstream.py).

Letters: B batch, T samples, F frames, D feature size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mlsuperb.layers.masks import valid_mask, zero_padding
from mlsuperb.upstreams.padding import normalise_wave, pad_short

Conventions = Literal["checkpoint", "s3prl", "s3prl_hf"]
MIN_SAMPLES = 800  # s3prl.nn.upstream: MIN_SECOND = 0.05


@dataclass(frozen=True, kw_only=True)
class S3prlConventions:
    """What s3prl's `S3PRLUpstream` does before and behind a model, on one utterance:

    - audio under 0.05 s is padded with zeros to that length first, and cut to its number of frames afterwards;
    - waves are brought to zero mean and unit variance, or not;
    - there are as many frames as started hops of 320 samples: the convolutions give one or two less, and the last frame is
      repeated. Inside a batch s3prl does so for the longest utterance alone; here the number is the same in any batch.

    Args:
        normalise: whether waves are normalised; `source` says by what rule.
        eps: added to their variance.
        hop_length: samples per frame.
    """

    normalise: bool
    source: str
    eps: float
    hop_length: int

    def prepare(self, wave_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """The waves that the model gets, zero beyond their lengths, and these lengths."""
        wave_BT = wave_BT.masked_fill(~valid_mask(lengths_B, wave_BT.shape[1]), 0)
        wave_BT, lengths_B = pad_short(wave_BT, lengths_B, min_samples=MIN_SAMPLES)
        if self.normalise:
            with torch.autocast(wave_BT.device.type, enabled=False):
                wave_BT = normalise_wave(wave_BT.float(), lengths_B, eps=self.eps)
        return wave_BT, lengths_B

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        """Frames of so many samples: one for every hop begun."""
        return torch.div(lengths_B.clamp(min=1) + self.hop_length - 1, self.hop_length, rounding_mode="floor")

    def repeat_last(
        self, layers: Sequence[Tensor], own_B: Tensor, frames_B: Tensor, *, num_samples: int
    ) -> tuple[Tensor, ...]:
        """Layers of `frames_B` frames, zero beyond, from those of which `own_B` frames are the model's own.

        Args:
            num_samples: T, of the batch.
        """
        positions_F = torch.arange(max(1, -(-num_samples // self.hop_length)), device=own_B.device)
        source_BF1 = torch.minimum(positions_F, own_B[:, None] - 1)[..., None]
        repeated = (layer.gather(1, source_BF1.expand(-1, -1, layer.shape[2])) for layer in layers)
        return tuple(zero_padding(layer, frames_B) for layer in repeated)
