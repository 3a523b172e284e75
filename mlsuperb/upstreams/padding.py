"""What padding must never touch: reflection at an utterance's own end, statistics over valid samples only.

Letters: B batch, T samples, F frames, X features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlsuperb.layers.masks import valid_mask

EXTRACTOR_EPS = 1e-7  # of transformers' `Wav2Vec2FeatureExtractor`


def pad_short(wave_BT: Tensor, lengths_B: Tensor, *, min_samples: int) -> tuple[Tensor, Tensor]:
    """Every utterance at least `min_samples` long, by zeros at its end."""
    missing = min_samples - wave_BT.shape[1]
    if missing > 0:
        wave_BT = nn.functional.pad(wave_BT, (0, missing))
    return wave_BT, lengths_B.clamp(min=min_samples)


def reflect_ends(wave_BT: Tensor, lengths_B: Tensor, *, margin: int) -> Tensor:
    """(B, T + 2 * margin): each utterance mirrored about its own first and last sample, as numpy's "reflect" does (also
    for waves shorter than `margin`, which are mirrored back and forth)."""
    position = torch.arange(-margin, wave_BT.shape[1] + margin, device=wave_BT.device)
    last_B1 = (lengths_B[:, None] - 1).clamp(min=0)
    phase_BT = position.remainder((2 * last_B1).clamp(min=1))
    return wave_BT.gather(1, torch.minimum(phase_BT, (2 * last_B1 - phase_BT).clamp(min=0)))


def normalise_wave(wave_BT: Tensor, lengths_B: Tensor, *, eps: float = EXTRACTOR_EPS) -> Tensor:
    """Zero mean and unit variance over each utterance's valid samples, zero beyond; `eps` is added to the variance."""
    mask_BT = valid_mask(lengths_B, wave_BT.shape[1])
    count_B1 = lengths_B[:, None].clamp(min=1)
    mean_B1 = wave_BT.masked_fill(~mask_BT, 0).sum(1, keepdim=True) / count_B1
    centred_BT = (wave_BT - mean_B1).masked_fill(~mask_BT, 0)
    variance_B1 = centred_BT.square().sum(1, keepdim=True) / count_B1
    return centred_BT * torch.rsqrt(variance_B1 + eps)


def centre_frames(values_BFX: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
    """`values_BFX` less their mean over each utterance's valid frames, zero beyond, and their variance (B, 1, X), of n - 1
    frames."""
    padding_BF1 = ~valid_mask(frames_B, values_BFX.shape[1])[..., None]
    count_B11 = frames_B[:, None, None]
    mean_B1X = values_BFX.masked_fill(padding_BF1, 0).sum(1, keepdim=True) / count_B11
    centred_BFX = (values_BFX - mean_B1X).masked_fill(padding_BF1, 0)
    return centred_BFX, centred_BFX.square().sum(1, keepdim=True) / (count_B11 - 1)
