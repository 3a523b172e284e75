"""From espeak-ng's samples to 16 kHz, 16-bit audio of a given band, level and noise.

Same bytes on every machine: all sums run over whole numbers that float64 holds exactly, so that neither the order in
which a BLAS adds them nor its vector width can change a sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from mlsuperb.data.synthesis.espeak import SAMPLE_RATE_HZ

_BLOCK_IN, _BLOCK_OUT = 441, 320  # 22,050 : 16,000
_PARTS, _GROUP = 5, 8  # makes each matrix product so small that a BLAS starts no threads for it
_HALF_WIDTH = 128  # of the filter, in input samples: an edge 250 Hz wide at 40 dB (Kaiser's formula)
_KAISER_BETA = 5.0
_FILTER_BITS, _GAIN_BITS = 15, 12


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A way of recording: one "dataset" of the built-in corpus.

    `low_hz` and `high_hz` bound the band, `level` is the speech's root mean square in steps of 16-bit audio,
    `noise` that of the hiss beside it, `variants` names the training speakers.
    """

    name: str
    low_hz: float
    high_hz: float
    level: int
    noise: int
    variants: tuple[str, ...]


# The built-in datasets by name
CONDITIONS = {
    condition.name: condition
    for condition in (
        Condition(
            name="studio", low_hz=0.0, high_hz=7300.0, level=2400, noise=8,
            variants=("m1", "m5", "m7", "m8", "f1", "f3", "Mike", "Alex", "Andrea", "belinda", "steph", "shelby", "max",
                      "paul", "rob", "Diogo", "pedro", "Nguyen", "aunty", "quincy"),
        ),
        Condition(
            name="phone", low_hz=300.0, high_hz=3400.0, level=1600, noise=50,
            variants=("m1", "m2", "m7", "f1", "f3", "Denis", "Gene", "Mario", "Storm", "anika", "antonio", "boris",
                      "steph2", "sandro", "grandma", "michel"),
        ),
        Condition(
            name="room", low_hz=80.0, high_hz=6000.0, level=1000, noise=60,
            variants=("m5", "m8", "f1", "f3", "Alex", "Gene2", "Michael", "Henrique", "Marco", "steph3", "ed", "gustave",
                      "miguel", "travis", "Alicia", "grandpa"),
        ),
    )
}  # fmt: skip


def record(samples_T: np.ndarray, condition: Condition, *, loudness: float, seed: int) -> np.ndarray:
    """`samples_T` int16 at 22,050 Hz -> int16 at 16 kHz as the condition records it.

    Args:
        loudness: factor on the condition's level.
        seed: of the hiss.
    """
    speech = _resample(samples_T, low_hz=condition.low_hz, high_hz=condition.high_hz)
    mean_square = int((speech * speech).sum()) // max(len(speech), 1)
    gain = int(condition.level * loudness * 2**_GAIN_BITS) // max(math.isqrt(mean_square), 1)
    mixed = speech * gain + _hiss(len(speech), seed) * _hiss_gain(condition.noise)
    return np.clip(mixed >> _GAIN_BITS, -(2**15), 2**15 - 1).astype("<i2")


def _resample(samples_T: np.ndarray, *, low_hz: float, high_hz: float) -> np.ndarray:
    """Band-limit to `low_hz`..`high_hz` and convert 22,050 to 16,000 Hz; int64."""
    num_out = len(samples_T) * _BLOCK_OUT // _BLOCK_IN
    num_groups = -(-num_out // (_GROUP * _BLOCK_OUT))
    num_blocks = num_groups * _GROUP
    padded = np.zeros(num_blocks * _BLOCK_IN + 2 * _HALF_WIDTH)
    padded[_HALF_WIDTH : _HALF_WIDTH + len(samples_T)] = samples_T[: len(padded) - _HALF_WIDTH]
    windows = np.lib.stride_tricks.sliding_window_view(padded, _BLOCK_IN + 2 * _HALF_WIDTH)[::_BLOCK_IN]
    blocks = windows.reshape(num_groups, _GROUP, -1)
    width_in, width_out = _BLOCK_IN // _PARTS + 2 * _HALF_WIDTH + 2, _BLOCK_OUT // _PARTS
    parts = []
    for part in range(_PARTS):  # each part of the output sees only its own stretch of the input
        seen = slice(first := part * _BLOCK_IN // _PARTS, first + width_in)
        kernel = _filter(low_hz, high_hz)[seen, part * width_out : (part + 1) * width_out]
        parts.append(blocks[:, :, seen] @ kernel)
    summed = np.concatenate(parts, axis=-1).ravel()[:num_out]
    return (summed.astype(np.int64) + 2 ** (_FILTER_BITS - 1)) >> _FILTER_BITS


@cache
def _filter(low_hz: float, high_hz: float) -> np.ndarray:
    """Whole-number matrix (441 + 2 * half width, 320) from a block of input, with its surroundings, to one of output: a
    Kaiser-windowed sinc of pass band `low_hz`..`high_hz`, sampled at the time of every output sample."""
    output_times = np.arange(_BLOCK_OUT) * _BLOCK_IN / _BLOCK_OUT + _HALF_WIDTH
    distance = np.arange(_BLOCK_IN + 2 * _HALF_WIDTH)[:, None] - output_times[None, :]
    inside = np.clip(1 - (distance / _HALF_WIDTH) ** 2, 0, None)
    window = np.where(np.abs(distance) < _HALF_WIDTH, np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA), 0)
    high, low = 2 * high_hz / SAMPLE_RATE_HZ, 2 * low_hz / SAMPLE_RATE_HZ
    ideal = high * np.sinc(high * distance) - low * np.sinc(low * distance)
    return np.round(ideal * window * 2**_FILTER_BITS)


def _hiss(num_samples: int, seed: int) -> np.ndarray:
    """Noise of nearly normal distribution: sums of four bytes, from a generator whose stream numpy promises to keep."""
    raw = np.random.PCG64(seed).random_raw((num_samples + 1) // 2)
    octets = raw.astype("<u8").view(np.uint8).reshape(-1, 4)
    return octets.sum(axis=1, dtype=np.int64)[:num_samples] - 510


def _hiss_gain(root_mean_square: int) -> int:
    return int(root_mean_square * 2**_GAIN_BITS / math.sqrt(4 * (256**2 - 1) / 12))
