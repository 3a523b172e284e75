"""The filterbank against torchaudio, numpy and transformers' mel filters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio
from transformers.audio_utils import mel_filter_bank

from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.padding import reflect_ends


def noise(num_samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(1, num_samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("n_fft", "win_length", "hop_length"), [(1024, 1024, 320), (512, 400, 160)])
def test_equals_torchaudio_on_unpadded_input(n_fft: int, win_length: int, hop_length: int) -> None:
    wave_BT = noise(16001)
    transform = torchaudio.transforms.MelSpectrogram(
        16000, n_fft=n_fft, win_length=win_length, hop_length=hop_length, n_mels=80, norm="slaney", mel_scale="slaney"
    )
    expected_BFM = transform(wave_BT).clamp(min=1e-10).log().transpose(1, 2)
    fbank = Fbank(n_fft=n_fft, win_length=win_length, hop_length=hop_length)
    features = fbank(wave_BT, torch.tensor([16001]))
    assert features.lengths_B.tolist() == [16001 // hop_length + 1]
    torch.testing.assert_close(features.layers[0], expected_BFM, rtol=1e-4, atol=1e-4)


def test_filters_equal_an_independent_implementation() -> None:
    expected_KM = mel_filter_bank(513, 80, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(Fbank().filters.numpy(), expected_KM, atol=1e-6)


def test_silence_is_the_log_of_the_floor() -> None:
    layer = Fbank()(torch.zeros(1, 3200), torch.tensor([3200])).layers[0]
    torch.testing.assert_close(layer, torch.full((1, 11, 80), float(np.log(1e-10))))


@pytest.mark.parametrize("length", [1, 2, 3, 10, 100, 513, 700])
def test_reflection_equals_numpy_even_for_waves_shorter_than_the_margin(length: int) -> None:
    wave_BT = torch.nn.functional.pad(noise(length), (0, 9))
    reflected = reflect_ends(wave_BT, torch.tensor([length]), margin=512)
    expected = np.pad(wave_BT[0, :length].numpy(), 512, mode="reflect")
    np.testing.assert_array_equal(reflected[0, : length + 1024].numpy(), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"win_length": 2048}, "win_length 2048"),
        ({"hop_length": 2000}, "hop_length 2000"),
        ({"n_fft": 401}, "even"),
        ({"f_max": 9000.0}, "f_max 9000"),
        ({"f_min": 5000.0, "f_max": 4000.0}, "f_min 5000"),
    ],
)
def test_settings_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fbank(**settings)
    defaults = {"n_fft": 1024, "win_length": None, "hop_length": 320, "f_min": 0.0, "f_max": 8000.0, "num_mels": 80}
    assert message in Fbank.problems(**{**defaults, **settings})[0]
    assert Fbank.problems(**defaults) == []


def test_sizes_follow_the_settings() -> None:
    fbank = Fbank(hop_length=160, num_mels=23)
    assert (fbank.num_layers, fbank.layer_size, fbank.frame_rate_hz) == (1, 23, 100.0)
    assert not list(fbank.parameters())
    assert not fbank.state_dict()
