"""Mel-frequency cepstral coefficients: an upstream without parameters."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor

from mlsuperb.upstreams.base import SAMPLE_RATE_HZ, Front, Upstream
from mlsuperb.upstreams.padding import reflect_ends

WINDOW = 400  # samples: 25 ms
N_FFT = 512


class MFCC(Upstream):
    """torchaudio's MFCCs over centred windows of 25 ms, one layer.

    Two differences keep an utterance independent of its batch: each utterance is reflected at its own end (torchaudio
    reflects at the end of the padded batch), and the logarithm is the natural one (torchaudio's default cuts off 80 dB
    below the loudest value of the batch).

    Args:
        num_coefficients: feature size.
        num_mels: number of mel filters that the cosine transform takes.
        hop_length: samples from one frame to the next.
    """

    cheap = True

    def __init__(
        self, *, num_coefficients: PositiveInt = 13, num_mels: PositiveInt = 23, hop_length: PositiveInt = 160
    ) -> None:
        super().__init__()
        if found := self.problems(num_coefficients=num_coefficients, num_mels=num_mels):
            raise ValueError(" ".join(found))
        from torchaudio import transforms

        self.num_layers = 1
        self.layer_size = num_coefficients
        self.frame_rate_hz = SAMPLE_RATE_HZ / hop_length
        self.hop_length = hop_length
        mel = {"n_fft": N_FFT, "win_length": WINDOW, "hop_length": hop_length, "n_mels": num_mels, "center": False}
        self.mfcc = transforms.MFCC(SAMPLE_RATE_HZ, n_mfcc=num_coefficients, log_mels=True, melkwargs=mel)

    @classmethod
    def problems(cls, *, num_coefficients: int, num_mels: int, **_others: object) -> list[str]:
        """Settings that do not go together, a sentence each."""
        if num_coefficients <= num_mels:
            return []
        return [
            f"upstream.num_coefficients is {num_coefficients}, more than upstream.num_mels {num_mels}: a cosine transform "
            "returns at most as many values as it takes. Lower num_coefficients or raise num_mels."
        ]

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        """MFCCs, `samples // hop_length + 1` frames of each utterance."""
        with torch.autocast(wave_BT.device.type, enabled=False):
            coefficients_BDF = self.mfcc(reflect_ends(wave_BT.float(), lengths_B, margin=N_FFT // 2))
        return Front(coefficients_BDF.transpose(1, 2), self.num_frames(lengths_B))

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> tuple[Tensor]:
        return (hidden_BFD,)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return torch.div(lengths_B, self.hop_length, rounding_mode="floor") + 1
