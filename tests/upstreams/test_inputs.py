"""What the self-supervised models are fed, against transformers' own feature extractors, one utterance at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor

from mlsuperb.upstreams.inputs import StackedMelInput, WaveInput

LENGTHS = [16000, 15999, 4321, 16160, 800]  # even and odd numbers of mel frames
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    wave_BT = torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, length in enumerate(LENGTHS):
        wave_BT[row, :length] = 0.05 * torch.randn(length, generator=generator) + 0.01 * row
    return wave_BT, torch.tensor(LENGTHS)


def test_normalised_wave_equals_the_extractor() -> None:
    wave_BT, lengths_B = batch()
    found_BT, found_lengths_B = WaveInput(kernels=KERNELS, strides=STRIDES, normalise=True)(wave_BT, lengths_B)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    for row, length in enumerate(LENGTHS):
        expected = extractor(wave_BT[row, :length].numpy(), sampling_rate=16000).input_values[0]
        np.testing.assert_allclose(found_BT[row, :length].numpy(), expected, atol=1e-4)
        assert found_BT[row, length:].abs().sum() == 0
    assert found_lengths_B.tolist() == LENGTHS


def test_stacked_mels_equal_the_extractor() -> None:
    wave_BT, lengths_B = batch()
    found_BFD, frames_B = StackedMelInput()(wave_BT, lengths_B)
    extractor = SeamlessM4TFeatureExtractor()
    for row, length in enumerate(LENGTHS):
        expected = extractor(wave_BT[row, :length].numpy(), sampling_rate=16000, return_tensors="pt")
        assert frames_B[row] == expected["attention_mask"].sum()
        valid = expected["input_features"][0, : frames_B[row]]  # it makes one more, masked, of an odd last frame
        torch.testing.assert_close(found_BFD[row, : frames_B[row]], valid, rtol=0, atol=1e-3)


@pytest.mark.parametrize("num_samples", [1, 399, 400, 719, 720])
def test_one_frame_is_400_samples(num_samples: int) -> None:
    wave = WaveInput(kernels=KERNELS, strides=STRIDES, normalise=False)
    assert (wave.min_samples, wave.frame_rate_hz) == (400, 50.0)
    inputs_BT, lengths_B = wave(torch.ones(1, num_samples), torch.tensor([num_samples]))
    assert inputs_BT.shape[1] == lengths_B.item() == max(400, num_samples)
    assert wave.num_frames(torch.tensor([num_samples])).tolist() == [2 if num_samples == 720 else 1]
