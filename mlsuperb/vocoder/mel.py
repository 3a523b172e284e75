"""The log-mel spectrogram of HiFi-GAN's loss. Letters: B batch, T samples, W window, K frequencies, M mel filters, J frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from mlsuperb.types import SAMPLE_RATE_HZ

NUM_MELS, N_FFT, HOP = 80, 1024, 256
_FLOOR = 1e-5


class LogMel(nn.Module):
    """Natural log of 80 Slaney mel filters over magnitudes, up to half the sample rate (`mel_spectrogram` of HiFi-GAN's
    `meldataset.py`, with `fmax_for_loss: null`); always computed in fp32."""

    window_W: Tensor
    filters_KM: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters_KM = melscale_fbanks(
            N_FFT // 2 + 1, 0.0, SAMPLE_RATE_HZ / 2, NUM_MELS, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("window_W", torch.hann_window(N_FFT), persistent=False)
        self.register_buffer("filters_KM", filters_KM, persistent=False)

    def forward(self, wave_BT: Tensor) -> Tensor:
        """(B, J, M) of waves of more than 384 samples."""
        with torch.autocast(wave_BT.device.type, enabled=False):
            padded_B1T = nn.functional.pad(wave_BT.float()[:, None], ((N_FFT - HOP) // 2,) * 2, "reflect")
            spectrum_BKJ = torch.stft(
                padded_B1T[:, 0], N_FFT, hop_length=HOP, window=self.window_W, center=False, return_complex=True
            )
            power_BKJ = spectrum_BKJ.real.square() + spectrum_BKJ.imag.square()
            magnitude_BJK = (power_BKJ + 1e-9).sqrt().transpose(1, 2)
            return (magnitude_BJK @ self.filters_KM).clamp(min=_FLOOR).log()
