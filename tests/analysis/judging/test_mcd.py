"""Mel-cepstral distortion against cases worked by hand and slow independent computations."""

from __future__ import annotations

import numpy as np
import pytest

from mlsuperb.analysis.judging import mcd
from mlsuperb.analysis.judging.mcd import ALPHA, ORDER, freqt_matrix, mel_cepstral_distortion, mel_cepstrum
from mlsuperb.units.dtw import warped


def speech_like(seed: int = 0, *, seconds: float = 0.5) -> np.ndarray:
    generator = np.random.default_rng(seed)
    time_T = np.arange(int(16000 * seconds)) / 16000
    voice_T = sum(np.sin(2 * np.pi * 120 * n * time_T * (1 + 0.2 * time_T)) / n for n in range(1, 30))
    return (0.05 * voice_T + 0.01 * generator.normal(size=len(time_T))).astype(np.float32)


def freqt(cepstra: np.ndarray, *, order: int, alpha: float) -> np.ndarray:
    """Cepstra (..., N) as SPTK's `freqt` warps them (..., order + 1)."""
    found: np.ndarray = cepstra @ freqt_matrix(cepstra.shape[-1] - 1, order, alpha).T
    return found


def warped_by_integration(cepstrum_N: np.ndarray, *, order: int, alpha: float) -> np.ndarray:
    """The definition: the spectrum sum_n c_n cos(n w) at the frequencies that the all-pass takes to even ones on the warped axis,
    projected on cosines there. The all-pass with -alpha is the inverse of the one with alpha."""
    num = 2**14
    warped_W = (np.arange(num) + 0.5) * np.pi / num
    plain_W = warped_W - 2 * np.arctan2(alpha * np.sin(warped_W), 1 + alpha * np.cos(warped_W))
    spectrum_W = np.cos(np.outer(plain_W, np.arange(len(cepstrum_N)))) @ cepstrum_N
    rows = np.cos(np.outer(np.arange(order + 1), warped_W)) @ spectrum_W / num
    rows[1:] *= 2
    return rows


@pytest.mark.parametrize("alpha", [0.42, -0.3, 0.0])
def test_freqt_is_the_warping_of_the_frequency_axis(alpha: float) -> None:
    cepstrum_N = np.random.default_rng(1).normal(size=40) / np.arange(1, 41)
    expected = warped_by_integration(cepstrum_N, order=23, alpha=alpha)
    assert freqt(cepstrum_N, order=23, alpha=alpha) == pytest.approx(expected, abs=1e-10)


def test_freqt_without_warping_is_the_identity() -> None:
    cepstra = np.random.default_rng(2).normal(size=(3, 24))
    assert np.array_equal(freqt(cepstra, order=23, alpha=0), cepstra)
    assert np.array_equal(freqt(cepstra, order=9, alpha=0), cepstra[:, :10])


def test_freqt_by_hand() -> None:
    """z^-1 is (z~^-1 + a) / (1 + a z~^-1) = a + (1 - a^2) z~^-1 - a (1 - a^2) z~^-2 + ..., with SPTK's sign."""
    a = 0.42
    expected = [a, 1 - a**2, -a * (1 - a**2), a**2 * (1 - a**2)]
    assert freqt(np.array([0.0, 1.0]), order=3, alpha=a) == pytest.approx(expected)


def test_a_pure_tone_of_cepstra_comes_back() -> None:
    """A log spectrum that is a cosine on the warped axis has one mel-cepstral coefficient, that of the log magnitude."""
    even_W = np.arange(513) * np.pi / 512
    mel_W = even_W + 2 * np.arctan2(ALPHA * np.sin(even_W), 1 - ALPHA * np.cos(even_W))
    magnitude_W = np.exp(0.7 + 0.3 * np.cos(5 * mel_W))
    pulse_T = np.fft.irfft(magnitude_W)  # zero phase
    log_power = np.log(np.abs(np.fft.rfft(pulse_T)) ** 2)
    cepstrum = np.fft.irfft(log_power)[:513]
    cepstrum[[0, -1]] *= 0.5
    found = freqt(cepstrum, order=ORDER, alpha=ALPHA)
    expected = np.zeros(24)
    expected[[0, 5]] = 0.7, 0.3
    assert found == pytest.approx(expected, abs=1e-6)


def test_identical_waves_have_none() -> None:
    wave_T = speech_like()
    assert mel_cepstral_distortion(wave_T, wave_T) == pytest.approx(0, abs=1e-5)


def test_a_coefficient_that_differs_by_a_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 sqrt(2) / ln 10 |delta|, and nothing for coefficient 0; the warping path cannot do better where frames are far apart."""
    delta = 0.25
    cepstra_FM = np.random.default_rng(3).normal(size=(30, 24)) * 10
    for place, expected in ((3, 10 * np.sqrt(2) / np.log(10) * delta), (0, 0.0)):
        other_FM = cepstra_FM.copy()
        other_FM[:, place] += delta
        given = iter((cepstra_FM, other_FM))
        monkeypatch.setattr(mcd, "mel_cepstrum", lambda _, given=given: next(given))
        assert mel_cepstral_distortion(np.empty(0), np.empty(0)) == pytest.approx(expected, abs=1e-3)


def test_a_level_does_not_count() -> None:
    loud_T = speech_like()
    assert mel_cepstral_distortion(0.01 * loud_T, loud_T) == pytest.approx(0, abs=1e-3)


def test_a_stretched_copy_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    cepstra_FM = np.random.default_rng(4).normal(size=(20, 24))
    given = iter((cepstra_FM, np.repeat(cepstra_FM, [1, 3, 2, 1] * 5, axis=0)))
    monkeypatch.setattr(mcd, "mel_cepstrum", lambda _: next(given))
    assert mel_cepstral_distortion(np.empty(0), np.empty(0)) == pytest.approx(0, abs=1e-5)


def test_other_speech_is_farther_than_the_same_with_noise() -> None:
    clean_T = speech_like()
    noisy_T = clean_T + 0.003 * np.random.default_rng(5).normal(size=len(clean_T)).astype(np.float32)
    other_T = np.random.default_rng(6).normal(size=len(clean_T)).astype(np.float32) * 0.05
    near, far = mel_cepstral_distortion(noisy_T, clean_T), mel_cepstral_distortion(other_T, clean_T)
    assert 0 < near < 0.7 * far


def test_frames() -> None:
    assert mel_cepstrum(np.zeros(100, np.float32)).shape == (1, 24)
    assert mel_cepstrum(np.zeros(400 + 3 * 80, np.float32)).shape == (4, 24)
    silent = mel_cepstrum(np.zeros(400, np.float32))
    assert np.isfinite(silent).all()
    assert silent[0, 1:] == pytest.approx(0, abs=1e-9)


def test_long_paths_are_those_of_the_plain_recursion() -> None:
    """The table of a long pair, cell by cell, in the order of its rows."""
    generator = np.random.default_rng(7)
    costs_PXY = np.round(generator.random((4, 9, 13)) * 4).astype(np.float32) / 4  # ties
    x_lengths_P, y_lengths_P = np.array([9, 1, 5, 8]), np.array([13, 4, 1, 13])
    found_P = warped(costs_PXY, x_lengths_P, y_lengths_P)
    for costs_XY, x_length, y_length, found in zip(costs_PXY, x_lengths_P, y_lengths_P, found_P, strict=True):
        cells: dict[tuple[int, int], tuple[float, int]] = {}
        for x in range(x_length):
            for y in range(y_length):
                before = [cells[one] for one in ((x - 1, y - 1), (x, y - 1), (x - 1, y)) if one in cells]
                total, number = min(before, key=lambda cell: cell[0]) if before else (0.0, 0)
                cells[x, y] = (total + float(costs_XY[x, y]), number + 1)
        total, number = cells[x_length - 1, y_length - 1]
        assert found == pytest.approx(total / number, rel=1e-6)
