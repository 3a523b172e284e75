"""What may explain an utterance's errors: duration, noise, bandwidth, speaking rate, unseen characters. Numpy only.

Letters: T samples, N frames of a wave, W samples of a frame, K frequencies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlsuperb.data.audio import load_audio
from mlsuperb.data.audio_file import file_of
from mlsuperb.runtime.files import made, stamp, write_atomic
from mlsuperb.scoring.counts import Counts
from mlsuperb.scoring.escaping import csv, from_csv
from mlsuperb.scoring.utterances import compared_texts, language_tokens
from mlsuperb.types import SAMPLE_RATE_HZ, Hypothesis, TaskFacts

FRAME_S, HOP_S = 0.025, 0.010  # Kaldi's frames
NOISE_PERCENTILE, SPEECH_PERCENTILE = 10, 90  # of the frames' energies
BANDWIDTH_SHARE = 0.99  # of the energy that lies below the bandwidth
# Variance of the rounding error of 16-bit samples (step^2 / 12): nothing below it is audible, and digital silence would
# have an infinite ratio.
ROUNDING_ENERGY = (1 / 32768) ** 2 / 12
SNR_TEXT = (
    f"estimate from the energies of {1000 * FRAME_S:.0f} ms frames: the {NOISE_PERCENTILE}th percentile is taken as noise, the "
    f"{SPEECH_PERCENTILE}th as speech and noise; too low for speech without pauses; digital silence counts as 16-bit rounding "
    "noise"
)
BANDWIDTH_TEXT = f"the frequency below which {100 * BANDWIDTH_SHARE:.0f} % of the energy lies, of 16 kHz audio"
SEGMENT = ("audio", "start_s", "duration_s")
# What a cached measurement is of: an utterance, and a file of some size and time (`stamp`)
MEASURED_IN = ("split", "id", *SEGMENT, "size", "time_ns")
MEASURED = ("snr_db", "bandwidth_hz")


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Measurements of one wave; None where it is too short or silent. `problem` says why nothing was measured, `fault` of what
    kind that is."""

    snr_db: float | None = None
    bandwidth_hz: float | None = None
    problem: str = ""
    fault: str = ""


def text_facts(
    hypotheses: Sequence[Hypothesis], counts: Sequence[Counts], facts: TaskFacts, *, tokens: Collection[str] | None
) -> pd.DataFrame:
    """One row per utterance: errors, reference length (units, as they are scored), `score` (error rate in %; of a task
    without text 100 where the language is wrong, else 0), the language named, units per second, share of units unseen in
    training.

    Args:
        counts: of every utterance (`mlsuperb.scoring.utterances.utterance_counts`).
        tokens: what the model can emit (`tokens.txt`), None where that is not known.
    """
    rows, language = [], language_tokens(hypotheses)
    known = None if tokens is None or not facts.has_text else set(tokens)
    for one, count in zip(hypotheses, counts, strict=True):
        text = compared_texts(one, facts, language)[0]
        spoken = text.split() if facts.units != "char" else [unit for unit in text if not unit.isspace()]
        wrong = count.lid_total - count.lid_correct
        rows.append(
            {
                **{name: getattr(one, name) for name in ("split", "id", "language", "dataset", *SEGMENT)},
                "errors": count.errors if facts.has_text else wrong,
                "length": count.reference_length if facts.has_text else count.lid_total,
                "score": count.error_rate if facts.has_text else 100.0 * wrong,
                "named": (language.first(one.hypothesis) or "") if facts.has_language else "",
                "units_per_s": len(spoken) / one.duration_s if spoken and one.duration_s > 0 else None,
                "unseen_share": sum(unit not in known for unit in spoken) / len(spoken) if known and spoken else None,
            }
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(("score", "units_per_s", "unseen_share"), float))


def add_sound(
    table: pd.DataFrame,
    *,
    cache: Path | None = None,
    progress: Callable[[Any, int], Any] = lambda rows, number: rows,
) -> pd.DataFrame:
    """`table` (`text_facts`) with `snr_db`, `bandwidth_hz`, `audio_problem` and `audio_fault` (its kind) measured in the audio,
    and `size` and `time_ns` of its file.

    Args:
        cache: a file with an earlier table of the same utterances: what is measured there, in files that have not changed, is not
            measured again, and the new table is written to it.
        progress: wraps the measurements as they come, given their number.

    Raises:
        OSError: the cache cannot be written.
    """
    old = _cached(cache)
    stamps = [stamp(file_of(audio)) for audio in table["audio"]]
    table = table.assign(size=[size for size, _ in stamps], time_ns=[time_ns for _, time_ns in stamps])
    keys = list(table[list(MEASURED_IN)].itertuples(index=False, name=None))
    missing = [key for key in keys if key not in old]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # reading and FFT both leave the interpreter to others
        found = progress(
            pool.map(lambda key: measure(key[2], start_s=key[3], duration_s=key[4]), missing), len(missing)
        )
        old |= dict(zip(missing, found, strict=True))
    sounds = [old[key] for key in keys]
    full = table.assign(
        **{name: np.array([getattr(one, name) for one in sounds], dtype=float) for name in MEASURED},
        audio_problem=[one.problem for one in sounds],
        audio_fault=[one.fault for one in sounds],
    )
    if cache is not None:
        made(cache.parent)
        write_atomic(cache, [csv(full)])
    return full


def _cached(path: Path | None) -> dict[tuple[Any, ...], Sound]:
    """What an earlier table measured; audio that was not there then is looked for again."""
    if path is None or not path.is_file():
        return {}
    try:
        rows = pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys((*MEASURED_IN[:3], "audio_problem"), str))
        rows = rows.assign(**{name: rows[name].map(from_csv) for name in MEASURED_IN[:3]})
        values = rows[list(MEASURED)].apply(pd.to_numeric, errors="coerce")
        keys = list(rows[list(MEASURED_IN)].itertuples(index=False, name=None))
        problems = list(rows["audio_problem"])
    except (KeyError, ValueError):  # cut off, or written by another version: measured anew
        return {}
    found = zip(keys, problems, values.replace({np.nan: None}).itertuples(index=False, name=None), strict=True)
    return {key: Sound(snr_db=snr, bandwidth_hz=width) for key, problem, (snr, width) in found if not problem}


def measure(audio: str, *, start_s: float, duration_s: float) -> Sound:
    """The facts of one utterance's audio; a file that cannot be read is a `problem`, not an error."""
    try:
        wave_T = load_audio(audio, start_s=start_s, duration_s=duration_s)
    except (ValueError, OSError) as error:
        if not os.path.isfile(audio):
            return Sound(problem="there is no such file", fault="there is no such file")
        return Sound(
            problem=f"cannot be read: {error}".splitlines()[0], fault=getattr(error, "fault", "cannot be read")
        )
    return Sound(snr_db=snr_db(wave_T), bandwidth_hz=bandwidth_hz(wave_T))


def snr_db(wave_T: np.ndarray) -> float | None:
    """Signal-to-noise ratio of a 16 kHz wave in dB, estimated from percentiles of the frame energies: noise energy is the
    10th, speech plus noise the 90th. None for less than five frames or digital silence."""
    frames_NW = _frames(wave_T)
    if len(frames_NW) < 5:
        return None
    energy_N = np.var(frames_NW, axis=1)
    noise, both = np.percentile(energy_N, [NOISE_PERCENTILE, SPEECH_PERCENTILE])
    noise = max(noise, ROUNDING_ENERGY)
    return None if both <= noise else float(10 * np.log10((both - noise) / noise))


def bandwidth_hz(wave_T: np.ndarray) -> float | None:
    """The frequency below which 99 % of a 16 kHz wave's energy lies (the mean taken off), from the mean power spectrum of
    25 ms Hann windows, in steps of 31.25 Hz. None for a wave shorter than a window or digital silence."""
    frames_NW = _frames(wave_T)
    if not len(frames_NW):
        return None
    centred_NW = frames_NW - frames_NW.mean(axis=1, keepdims=True)
    size = 512
    power_K = (np.abs(np.fft.rfft(centred_NW * np.hanning(frames_NW.shape[1]), size)) ** 2).mean(axis=0)
    if power_K.sum() <= 0:
        return None
    below_K = np.cumsum(power_K) / power_K.sum()
    return float(np.searchsorted(below_K, BANDWIDTH_SHARE) * SAMPLE_RATE_HZ / size)


def _frames(wave_T: np.ndarray) -> np.ndarray:
    """Overlapping frames (N, W), a view."""
    width, hop = round(FRAME_S * SAMPLE_RATE_HZ), round(HOP_S * SAMPLE_RATE_HZ)
    if len(wave_T) < width:
        return np.empty((0, width), dtype=wave_T.dtype)
    return np.lib.stride_tricks.sliding_window_view(wave_T, width)[::hop]
