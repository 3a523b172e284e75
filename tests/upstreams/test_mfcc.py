"""MFCCs against torchaudio's own, whose frames are centred by reflection at the end of what it is given."""

from __future__ import annotations

import pytest
import torch
from torchaudio import transforms

from mlsuperb.upstreams.mfcc import MFCC


def test_an_utterance_alone_is_what_torchaudio_computes() -> None:
    wave_BT = 0.1 * torch.randn(1, 16_003, generator=torch.Generator().manual_seed(0))
    features = MFCC()(wave_BT, torch.tensor([16_003]))
    mel = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 23}
    expected_BDF = transforms.MFCC(16_000, n_mfcc=13, log_mels=True, melkwargs=mel)(wave_BT)
    assert features.frame_rate_hz == 100
    assert features.layers[0].shape == (1, 101, 13)
    torch.testing.assert_close(features.layers[0], expected_BDF.transpose(1, 2))


def test_more_coefficients_than_filters_are_refused() -> None:
    assert MFCC.problems(num_coefficients=23, num_mels=23) == []
    with pytest.raises(ValueError, match=r"num_coefficients is 24, more than upstream\.num_mels 23: .* Lower"):
        MFCC(num_coefficients=24)
