"""Kaldi's MFCCs with deltas: what the first iteration of HuBERT and mHuBERT-147 is clustered from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mlsuperb.upstreams.base import SAMPLE_RATE_HZ, Front, Upstream

WINDOW, HOP = 400, 160  # samples: 25 ms, 10 ms


class KaldiMFCC(Upstream):
    """13 MFCCs, C0 among them, with first and second differences: 39 numbers every 10 ms, one layer.

    `torchaudio.compliance.kaldi.mfcc` (23 mel filters, Povey window, pre-emphasis 0.97, no energy, no dither, no mean
    subtraction, whole windows only), then `compute_deltas` twice, each utterance by itself (fairseq,
    `examples/hubert/simple_kmeans/dump_mfcc_feature.py`). 1 s gives 98 frames. Utterances of less than one window are padded with
    zeros to one.
    """

    cheap = True
    num_layers = 1
    layer_size = 39
    frame_rate_hz = SAMPLE_RATE_HZ / HOP

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        """MFCCs and their deltas."""
        with torch.autocast(wave_BT.device.type, enabled=False):
            rows = zip(wave_BT.float(), lengths_B.tolist(), strict=True)
            features_BFD = pad_sequence([self._features(wave_T[:length]) for wave_T, length in rows], batch_first=True)
        return Front(features_BFD, self.num_frames(lengths_B))

    def _features(self, wave_T: Tensor) -> Tensor:
        from torchaudio.compliance.kaldi import mfcc
        from torchaudio.functional import compute_deltas

        wave_T = torch.nn.functional.pad(wave_T, (0, max(0, WINDOW - len(wave_T))))
        coefficients_CF = mfcc(wave_T[None], sample_frequency=SAMPLE_RATE_HZ, use_energy=False).T
        deltas_CF = compute_deltas(coefficients_CF)
        return torch.cat([coefficients_CF, deltas_CF, compute_deltas(deltas_CF)]).T

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> tuple[Tensor]:
        return (hidden_BFD,)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return torch.div(lengths_B.clamp(min=WINDOW) - WINDOW, HOP, rounding_mode="floor") + 1
