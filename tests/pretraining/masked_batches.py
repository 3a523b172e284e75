"""A batch with masks, and a small model for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlsuperb.pretraining.dataset import MaskedBatch
from mlsuperb.pretraining.masking import SpanMasking
from mlsuperb.pretraining.model import MaskedPrediction, MaskedPredictionModel
from mlsuperb.upstreams.new_hubert import NewHubert

NUM_UNITS = 20


def small_hubert(**settings: Any) -> NewHubert:
    """Two blocks of 64."""
    sizes = {"num_blocks": 2, "hidden_size": 64, "num_heads": 4, "ffn_size": 128, "conv_channels": [32] * 7}
    return NewHubert(**{**sizes, "position_kernel": 16, "position_groups": 4, **settings})


def small_model(upstream: NewHubert | None = None, **settings: Any) -> MaskedPredictionModel:
    """A small HuBERT with a head for `NUM_UNITS` units."""
    upstream = small_hubert() if upstream is None else upstream
    prediction = MaskedPrediction(**{"final_size": 16, **settings})
    head = prediction.head(size=upstream.layer_size, num_units=NUM_UNITS)
    return MaskedPredictionModel(upstream, head=head, settings=prediction)


def masked_batch(
    upstream: NewHubert, lengths: list[int], *, seed: int = 0, mask_BF: Tensor | None = None
) -> MaskedBatch:
    """Noise of so many samples, random units, masks."""
    generator = torch.Generator().manual_seed(seed)
    lengths_B = torch.tensor(lengths)
    wave_BT = 0.1 * torch.randn(len(lengths), max(lengths), generator=generator)
    wave_BT *= torch.arange(max(lengths)) < lengths_B[:, None]
    frames_B = upstream.num_frames(lengths_B)
    if mask_BF is None:
        mask_BF = torch.from_numpy(SpanMasking().draw(frames_B.tolist(), rng=np.random.default_rng(seed)))
    units_BF = torch.randint(0, NUM_UNITS, mask_BF.shape, generator=generator)
    known_BF = torch.arange(mask_BF.shape[1]) < frames_B[:, None]
    return MaskedBatch(
        ids=tuple(f"u{at}" for at in range(len(lengths))), languages=("deu",) * len(lengths), wave_BT=wave_BT,
        lengths_B=lengths_B, targets_BS=units_BF, target_lengths_B=frames_B, units_BF=units_BF, mask_BF=mask_BF,
        masked_N=(mask_BF & known_BF).flatten().nonzero()[:, 0], unmasked_N=(~mask_BF & known_BF).flatten().nonzero()[:, 0],
        audio_s=sum(lengths) / 16000,
    )  # fmt: skip
