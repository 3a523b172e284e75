"""What is measured of synthesised audio without an ASR model: length, level, distance from the recording, DNSMOS."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from mlsuperb.analysis.judging.inputs import Clip
from mlsuperb.analysis.judging.mcd import mel_cepstral_distortion
from mlsuperb.analysis.judging.transcripts import Progress
from mlsuperb.types import SAMPLE_RATE_HZ

# DNSMOS P.835 and P.808 (C. K. A. Reddy et al., ICASSP 2021 and 2022) by Microsoft's package speechmos: its key -> our name
DNSMOS = {
    "ovrl_mos": "dnsmos_overall",
    "sig_mos": "dnsmos_speech",
    "bak_mos": "dnsmos_noise",
    "p808_mos": "dnsmos_p808",
}
NO_DNSMOS = "DNSMOS is left out: it needs the packages speechmos, onnxruntime and librosa (pip install them)"
Rater = Callable[[np.ndarray], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Sound:
    """One utterance of a system.

    Args:
        level_dbfs: root mean square against full scale (a square wave of it has 0 dB); None of digital silence.
        recording_s: length of the recording, None where there is none; likewise `mcd_db`.
        dnsmos: by the names of `DNSMOS`; empty where they were not measured.
    """

    duration_s: float
    level_dbfs: float | None
    recording_s: float | None = None
    mcd_db: float | None = None
    dnsmos: Mapping[str, float] = field(default_factory=dict)


def measure(wave_T: np.ndarray, recording_T: np.ndarray | None, *, dnsmos: Rater | None) -> Sound:
    """Measure one utterance; both waves float at 16 kHz."""
    power = float(np.mean(np.square(wave_T, dtype=np.float64)))
    return Sound(
        duration_s=len(wave_T) / SAMPLE_RATE_HZ,
        level_dbfs=10 * math.log10(power) if power else None,
        recording_s=None if recording_T is None else len(recording_T) / SAMPLE_RATE_HZ,
        mcd_db=None if recording_T is None else mel_cepstral_distortion(wave_T, recording_T),
        dnsmos=dnsmos(wave_T) if dnsmos else {},
    )


def measure_all(
    clips: Sequence[Clip], recordings: Sequence[Clip] | None, *, dnsmos: Rater | None, progress: Progress
) -> list[Sound]:
    """Measure the utterances of a system, against their recordings where these are other files.

    Raises:
        ValueError: audio cannot be read.
    """
    others = recordings if recordings is not None and tuple(recordings) != tuple(clips) else [None] * len(clips)
    pairs = progress(list(zip(clips, others, strict=True)), len(clips), "measure audio")
    return [measure(clip.wave(), None if other is None else other.wave(), dnsmos=dnsmos) for clip, other in pairs]


def dnsmos_rater() -> Rater | None:
    """The mean opinion scores that DNSMOS predicts, by the names of `DNSMOS`; None where its packages are not installed."""
    if not all(find_spec(name) for name in ("speechmos", "onnxruntime", "librosa")):
        return None
    package = import_module("speechmos.dnsmos")

    def rate(wave_T: np.ndarray) -> dict[str, float]:
        # repeats audio under 9 s, as DNSMOS' own script does
        found = package.run(np.clip(wave_T, -1, 1), sr=SAMPLE_RATE_HZ)
        return {name: float(found[key]) for key, name in DNSMOS.items()}

    return rate
