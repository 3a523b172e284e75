"""Mel-cepstral distortion of two utterances. Letters: T samples, F frames, N cepstral coefficients, M mel-cepstral ones.

R. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", PACRIM 1993. Order 23 and alpha 0.42 at
16 kHz are what ESPnet's `evaluate_mcd.py` and the evaluations of unit vocoders take. The mel-cepstrum is the cepstrum of the log
spectrum, warped by SPTK's `freqt`; `evaluate_mcd.py` fits it iteratively (`mcep`), has other windows, and counts
coefficient 0, the energy, too: compare figures of one program only.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from mlsuperb.units.dtw import warped

ORDER, ALPHA = 23, 0.42
# samples: 25 ms every 5 ms, as in SPTK's examples; the warping needs a fine spectrum
_WINDOW, _HOP, _FFT = 400, 80, 1024
_FLOOR = 1e-8  # 80 dB below an utterance's loudest frequency: gaps in its spectrum are cut there, whatever its level
_DB = 10 * np.sqrt(2) / np.log(10)


def mel_cepstral_distortion(wave_T: np.ndarray, recording_T: np.ndarray) -> float:
    """In dB: the mean over the path of dynamic time warping (the one that `mlsuperb.units.dtw` finds) of the distance of two
    frames' mel-cepstra. Waves are float, at 16 kHz."""
    x_FM, y_FM = (mel_cepstrum(one_T)[:, 1:] for one_T in (wave_T, recording_T))
    squares_FF = np.square(x_FM).sum(1)[:, None] + np.square(y_FM).sum(1) - 2 * x_FM @ y_FM.T
    costs_PXY = _DB * np.sqrt(np.maximum(squares_FF, 0))[None]
    return float(warped(costs_PXY, np.array([len(x_FM)]), np.array([len(y_FM)]))[0])


def mel_cepstrum(wave_T: np.ndarray) -> np.ndarray:
    """Mel-cepstra (F, M) with M = 24, coefficient 0 first. Audio shorter than a window is padded with zeros to one."""
    padded_T = np.pad(wave_T.astype(np.float64), (0, max(0, _WINDOW - len(wave_T))))
    frames_FT = np.lib.stride_tricks.sliding_window_view(padded_T, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = np.square(np.abs(np.fft.rfft(frames_FT, _FFT)))
    log_power = np.log(power + _FLOOR * (power.max() or 1))
    cepstrum_FN = np.fft.irfft(log_power)[:, : _FFT // 2 + 1]
    cepstrum_FN[:, [0, -1]] *= 0.5  # one side of the cepstrum of the log magnitude, which is half the log power
    warped_FM: np.ndarray = cepstrum_FN @ freqt_matrix(cepstrum_FN.shape[1] - 1, ORDER, ALPHA).T
    return warped_FM


@cache
def freqt_matrix(order: int, warped_order: int, alpha: float) -> np.ndarray:
    """SPTK's `freqt` as a matrix (M, N), for cepstra of N = `order` + 1 coefficients: it takes them to the frequency axis that an
    all-pass of first order with coefficient `alpha` warps (A. V. Oppenheim and D. H. Johnson, "Discrete representation of
    signals", 1972). The recursion over the coefficients, from the last to the first, is done for all unit vectors at once."""
    current_MN = np.zeros((warped_order + 1, order + 1))
    for n in range(order, -1, -1):
        before_MN, current_MN = current_MN, np.empty_like(current_MN)
        current_MN[0] = alpha * before_MN[0]
        current_MN[0, n] += 1
        if warped_order:
            current_MN[1] = (1 - alpha**2) * before_MN[0] + alpha * before_MN[1]
        for m in range(2, warped_order + 1):
            current_MN[m] = before_MN[m - 1] + alpha * (before_MN[m] - current_MN[m - 1])
    return current_MN
