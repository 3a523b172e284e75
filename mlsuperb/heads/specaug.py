"""SpecAugment (Park et al., arXiv 1904.08779) with ML-SUPERB's settings, on whole batches at once.

Letters: B batch, F frames, D feature size, N masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn

from mlsuperb.layers.masks import valid_mask


class Identity(nn.Module):
    """No augmentation."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> Tensor:
        """`feats_BFD` as it is."""
        return feats_BFD


@dataclass(kw_only=True, eq=False, repr=False)
class SpecAugment(nn.Module):
    """Time warp, then frequency masks, then time masks; in training mode only. Masked values are 0.

    The defaults are ML-SUPERB's (ESPnet `egs2/ml_superb/asr1/conf/tuning/train_asr_s3prl_*.yaml`, classes
    `espnet2.asr.specaug.SpecAug`, `espnet2.layers.{time_warp,mask_along_axis}`). Every random number is drawn for each
    utterance and each mask, bounded by the utterance's own length; nothing beyond it is touched. ESPnet differs: in a
    batch, time masks are sized and placed by the longest utterance, and utterances of equal length share one warp;
    the start of a mask is bounded by the widest one drawn. As in ESPnet, no mask reaches the very last place.

    All random numbers come from torch's generator of the device, so that a resumed run goes on as it would have.

    Args:
        time_warp_window: the frame that moves, moves by at most this many frames; 0 turns the warp off. Utterances of
            twice this length or less stay as they are.
        num_freq_masks: masks over the feature axis.
        freq_mask_max_width: their greatest width (widths are uniform from 0).
        num_time_masks: masks over the frames.
        time_mask_max_ratio: their width is under this share of the utterance: uniform from 0 to
            floor(ratio * frames) - 1, as the original draws it.
    """

    time_warp_window: NonNegativeInt = 5
    num_freq_masks: NonNegativeInt = 2
    freq_mask_max_width: NonNegativeInt = 26
    num_time_masks: NonNegativeInt = 10
    time_mask_max_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05

    def __post_init__(self) -> None:
        super().__init__()

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> Tensor:
        """Augmented `feats_BFD`, of which `lengths_B` frames are valid. Never waits for the device."""
        if not self.training:
            return feats_BFD
        if self.time_warp_window:
            feats_BFD = self._warp(feats_BFD, lengths_B)
        num_frames, num_features = feats_BFD.shape[1:]
        # in this order one tensor of that size is made, and changed in place
        masked_BFD = self._freq_mask(num_features, lengths_B)[:, None, :] & valid_mask(lengths_B, num_frames)[..., None]
        masked_BFD |= self._time_mask(num_frames, lengths_B)[..., None]
        return feats_BFD.masked_fill(masked_BFD, 0)

    def _freq_mask(self, num_features: int, lengths_B: Tensor) -> Tensor:
        sizes_B = torch.full_like(lengths_B, num_features)
        widths_B = torch.full_like(lengths_B, self.freq_mask_max_width + 1)
        return _spans(sizes_B, widths_B, num_masks=self.num_freq_masks, size=num_features)

    def _time_mask(self, num_frames: int, lengths_B: Tensor) -> Tensor:
        # in whole numbers: floor(0.05 * 60) is 3, but 2 in fp32
        widths_B = torch.div(lengths_B * round(self.time_mask_max_ratio * 1_000_000), 1_000_000, rounding_mode="floor")
        return _spans(lengths_B, widths_B, num_masks=self.num_time_masks, size=num_frames)

    def _warp(self, feats_BFD: Tensor, lengths_B: Tensor) -> Tensor:
        """Frames before a random centre are resampled to a slightly other number, those after it to the rest."""
        window = self.time_warp_window
        centre_B = window + _randint(lengths_B - 2 * window)
        warped_B = centre_B - window + 1 + _randint(torch.full_like(lengths_B, 2 * window))
        frame_BF = torch.arange(feats_BFD.shape[1], device=feats_BFD.device).expand(feats_BFD.shape[:2])
        left_BF = frame_BF < warped_B[:, None]
        centre_B1, warped_B1, length_B1 = centre_B[:, None], warped_B[:, None], lengths_B[:, None]
        moved_BF = (length_B1 > 2 * window) & (frame_BF < length_B1)
        return _resample(
            feats_BFD,
            moved_BF=moved_BF,
            out_frame_BF=torch.where(left_BF, frame_BF, frame_BF - warped_B1),
            out_size_BF=torch.where(left_BF, warped_B1, length_B1 - warped_B1),
            in_start_BF=torch.where(left_BF, 0, centre_B1),
            in_size_BF=torch.where(left_BF, centre_B1, length_B1 - centre_B1),
        )


def _randint(upper: Tensor) -> Tensor:
    """Uniform whole numbers from 0 to `upper` - 1; 0 where there is no choice."""
    return (torch.rand(upper.shape, device=upper.device) * upper.clamp(min=1)).long()


def _spans(sizes_B: Tensor, width_limits_B: Tensor, *, num_masks: int, size: int) -> Tensor:
    """(B, size) bool: `num_masks` spans, narrower than `width_limits_B`, inside the first `sizes_B` positions.
    They start before `sizes_B` - width, so that the last position stays free, as the original draws them."""
    widths_BN = _randint(width_limits_B[:, None].expand(-1, num_masks)).minimum(sizes_B[:, None])
    starts_BN = _randint(sizes_B[:, None] - widths_BN)
    position = torch.arange(size, device=sizes_B.device)
    inside_BNF = (position >= starts_BN[..., None]) & (position < (starts_BN + widths_BN)[..., None])
    return inside_BNF.any(1)


def _resample(
    feats_BFD: Tensor,
    *,
    moved_BF: Tensor,
    out_frame_BF: Tensor,
    out_size_BF: Tensor,
    in_start_BF: Tensor,
    in_size_BF: Tensor,
) -> Tensor:
    """Cubic interpolation in time inside segments, as `interpolate(mode="bicubic", align_corners=False)` does:
    cubic convolution with a = -0.75, edges of a segment repeated. Frames that are not in `moved_BF` stay as they are."""
    scale_BF = in_size_BF.float() / out_size_BF.clamp(min=1)
    source_BF = (out_frame_BF.float() + 0.5) * scale_BF - 0.5
    before_BF = source_BF.floor()
    num_rows, num_frames, num_features = feats_BFD.shape
    place_BF = torch.arange(num_rows * num_frames, device=feats_BFD.device).view(num_rows, num_frames)
    flat_ND = feats_BFD.reshape(-1, num_features)
    total_ND = torch.zeros_like(flat_ND)
    for tap in (-1, 0, 1, 2):
        # one that stays is 1 times itself, 0 times itself, ...: cheaper than to choose between two streams afterwards
        weight_BF = torch.where(moved_BF, _cubic(source_BF - before_BF - tap), float(tap == 0)).to(flat_ND.dtype)
        within_BF = (before_BF.long() + tap).clamp(min=0).minimum(in_size_BF - 1)
        index_BF = torch.where(moved_BF, place_BF[:, :1] + in_start_BF + within_BF, place_BF)
        total_ND = total_ND.addcmul(flat_ND.index_select(0, index_BF.flatten()), weight_BF.flatten()[:, None])
    return total_ND.view(feats_BFD.shape)


def _cubic(distance: Tensor, *, a: float = -0.75) -> Tensor:
    """Keys' cubic convolution kernel (1981) at `distance` frames; a = -0.75 is torch's."""
    x = distance.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
