"""What the self-supervised models read: a wave (HuBERT, wav2vec 2.0, WavLM) or stacked log-mels (w2v-BERT 2.0,
SeamlessM4T).

Letters: B batch, T samples, F mel frames, M mel filters, K frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mlsuperb.layers.masks import valid_mask
from mlsuperb.upstreams.base import SAMPLE_RATE_HZ
from mlsuperb.upstreams.padding import EXTRACTOR_EPS, centre_frames, normalise_wave, pad_short


class WaveInput(nn.Module):
    """The wave itself, for a model that begins with unpadded convolutions.

    Args:
        kernels, strides: of those convolutions.
        normalise: bring each utterance to zero mean and unit variance.
        eps: added to that variance.
    """

    def __init__(
        self, *, kernels: Sequence[int], strides: Sequence[int], normalise: bool, eps: float = EXTRACTOR_EPS
    ) -> None:
        super().__init__()
        self.convolutions = list(zip(kernels, strides, strict=True))
        self.normalise = normalise
        self.eps = eps
        self.frame_rate_hz = SAMPLE_RATE_HZ / math.prod(strides)
        self.min_samples = 1  # of which the convolutions make one frame: 400 for every published model
        for kernel, stride in reversed(self.convolutions):
            self.min_samples = (self.min_samples - 1) * stride + kernel

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """The model's input (B, T) and its valid lengths; utterances shorter than one frame are padded with zeros."""
        if self.normalise:
            wave_BT = normalise_wave(wave_BT, lengths_B, eps=self.eps)
        else:
            wave_BT = wave_BT.masked_fill(~valid_mask(lengths_B, wave_BT.shape[1]), 0)
        return pad_short(wave_BT, lengths_B, min_samples=self.min_samples)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        frames_B = lengths_B.clamp(min=self.min_samples)
        for kernel, stride in self.convolutions:
            frames_B = torch.div(frames_B - kernel, stride, rounding_mode="floor") + 1
        return frames_B


class StackedMelInput(nn.Module):
    """Two 10 ms frames of 80 log-mels side by side, a batched `SeamlessM4TFeatureExtractor` (w2v-BERT 2.0).

    Kaldi's filterbank on 16-bit amplitudes: 25 ms Povey window, no padding, mean removed, pre-emphasis 0.97, 512
    points, 80 filters from 20 Hz to 8 kHz, floor 2^-23; then zero mean and unit variance (n - 1) per utterance and
    filter. An odd last frame enters the statistics but not the output.
    """

    window: Tensor  # (W,)
    filters: Tensor  # (K, M)

    num_mels, stack, frame_rate_hz = 80, 2, 50.0
    win_length, hop_length, n_fft = 400, 160, 512
    min_samples = win_length + hop_length  # two mel frames

    def __init__(self) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank, window_function

        filters_KM = mel_filter_bank(
            num_frequency_bins=self.n_fft // 2 + 1,
            num_mel_filters=self.num_mels,
            min_frequency=20,
            max_frequency=SAMPLE_RATE_HZ // 2,
            sampling_rate=SAMPLE_RATE_HZ,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        window_W = window_function(self.win_length, "povey", periodic=False)
        self.register_buffer("filters", torch.from_numpy(filters_KM).float(), persistent=False)
        self.register_buffer("window", torch.from_numpy(window_W).float(), persistent=False)

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Stacked mels (B, F // 2, 160) and their valid lengths; utterances shorter than 560 samples are padded."""
        wave_BT = wave_BT.masked_fill(~valid_mask(lengths_B, wave_BT.shape[1]), 0)
        wave_BT, lengths_B = pad_short(wave_BT, lengths_B, min_samples=self.min_samples)
        centred_BFM, variance_B1M = centre_frames(self._log_mels(wave_BT), self._num_mel_frames(lengths_B))
        mels_BFM = centred_BFM * torch.rsqrt(variance_B1M + 1e-7)
        num_stacked = mels_BFM.shape[1] // self.stack
        stacked = mels_BFM[:, : num_stacked * self.stack].reshape(len(wave_BT), num_stacked, self.stack * self.num_mels)
        return stacked, self.num_frames(lengths_B)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return torch.div(self._num_mel_frames(lengths_B.clamp(min=self.min_samples)), self.stack, rounding_mode="floor")

    def _num_mel_frames(self, lengths_B: Tensor) -> Tensor:
        return torch.div(lengths_B - self.win_length, self.hop_length, rounding_mode="floor") + 1

    def _log_mels(self, wave_BT: Tensor) -> Tensor:
        frames_BFW = (wave_BT * 2.0**15).unfold(1, self.win_length, self.hop_length)
        frames_BFW = frames_BFW - frames_BFW.mean(-1, keepdim=True)
        previous_BFW = torch.cat([frames_BFW[..., :1], frames_BFW[..., :-1]], dim=-1)
        spectrum_BFK = torch.fft.rfft((frames_BFW - 0.97 * previous_BFW) * self.window, n=self.n_fft)
        power_BFK = torch.view_as_real(spectrum_BFK).square().sum(-1)
        return (power_BFK @ self.filters).clamp(min=2.0**-23).log()


# How `WaveInput` and `StackedMelInput` prepare audio, by the names in preprocessor_config.json
WAVE_FEATURES = {"feature_size": 1}
MEL_FEATURES = {
    "feature_size": StackedMelInput.num_mels,
    "num_mel_bins": StackedMelInput.num_mels,
    "stride": StackedMelInput.stack,
}


def mel_problems(config: Mapping[str, Any]) -> list[str]:
    """Whether a model of this config.json reads something else than `StackedMelInput`."""
    made = StackedMelInput.stack * StackedMelInput.num_mels
    if (size := config.get("feature_projection_input_dim", made)) == made:
        return []
    return [f"The checkpoint reads {size} inputs per frame; only {made} (80 mels, stacked by 2) can be made."]
