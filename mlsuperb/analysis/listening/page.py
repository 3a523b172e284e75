"""A listening test in one HTML file: systems are hidden, and every listener hears the samples in an order of their own.

Absolute category rating as in ITU-T P.800 (1996), annex B: one sample at a time, on the scale bad (1) to excellent (5), all
samples at the level that P.800 asks for. Audio is FLAC, which Chromium, Firefox and Safari play: a lossy format would be
judged, too.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from mlsuperb.data.audio import load_audio
from mlsuperb.types import SAMPLE_RATE_HZ

SCALE = {5: "Excellent", 4: "Good", 3: "Fair", 2: "Poor", 1: "Bad"}  # ITU-T P.800, listening-quality scale
LEVEL_DBFS = -26.0  # ITU-T P.800: speech at -26 dB from overload
COLUMNS = ("page", "listener", "place", "sample", "rating")  # of the ratings that the page writes
_MIN_SYSTEMS = 2


def listening_test(systems: Mapping[str, Path], *, num: int, seed: int) -> tuple[str, dict[str, Any]]:
    """The page, and the key to its samples, which listeners must not see.

    Args:
        systems: name -> folder of WAV files; those of the same name are the same utterance.
        num: utterances, chosen at random among those that all systems have.
        seed: of the choice. The names of samples are new in every page, so that nobody can work them out.

    Raises:
        ValueError: fewer than two systems, no common utterances, fewer than `num` of them, or audio that cannot be read.
    """
    chosen = _chosen(systems, num=num, seed=seed)
    page, samples, sounds = secrets.token_hex(8), {}, {}
    for system, folder in systems.items():
        for utterance in chosen:
            name = secrets.token_hex(8)
            samples[name] = {"system": system, "utterance": utterance}
            sounds[name] = sound(load_audio(folder / f"{utterance}.wav"))
    samples, sounds = dict(sorted(samples.items())), dict(sorted(sounds.items()))  # in the order of random names
    key = {"page": page, "seed": seed, "level_dbfs": LEVEL_DBFS, "systems": list(systems), "samples": samples}
    return _render(page, sounds), key


def _chosen(systems: Mapping[str, Path], *, num: int, seed: int) -> list[str]:
    if len(systems) < _MIN_SYSTEMS:
        raise ValueError(
            f"a listening test compares systems, and {len(systems)} is given; give two or more as NAME=FOLDER, such as the "
            "recordings among them, which show how high ratings can be"
        )
    if num < 1:
        raise ValueError(f"--num is {num}; give 1 or more utterances")
    if absent := [f"{name}={folder}" for name, folder in systems.items() if not folder.is_dir()]:
        raise ValueError(f"there is no folder {', '.join(absent)}; a system is a folder of <utterance id>.wav")
    known = [{path.stem for path in folder.glob("*.wav")} for folder in systems.values()]
    common = sorted(set.intersection(*known))
    if len(common) < num:
        counts = ", ".join(f"{name} {len(ids):,}" for name, ids in zip(systems, known, strict=True))
        raise ValueError(
            f"{len(common):,} utterances are in all systems ({counts}), and {num} are to be heard; give --num {len(common)} or "
            "fewer, or folders with more in common: <utterance id>.wav, the same ids in each"
        )
    return sorted(np.random.default_rng(seed).permutation(common)[:num].tolist())


def sound(wave_T: np.ndarray) -> str:
    """A data URI of a wave (T,) at 16 kHz, brought to `LEVEL_DBFS`, or as near to it as its peaks allow."""
    level = float(np.sqrt(np.mean(np.square(wave_T, dtype=np.float64))))
    peak = float(np.abs(wave_T).max())
    gain = min(10 ** (LEVEL_DBFS / 20) / level, 1 / peak) if level else 1.0
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(gain * wave_T, -1, 1), SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _render(page: str, sounds: Mapping[str, str]) -> str:
    """One file without any link, and with a policy that forbids the network."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    folder = files("mlsuperb.analysis.listening")
    style, script, template = (
        (folder / name).read_text(encoding="utf-8") for name in ("style.css", "script.js", "page.html.jinja")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    # hexadecimal names and base64: nothing to escape
    data = json.dumps({"page": page, "columns": COLUMNS, "sounds": sounds})
    return environment.from_string(template).render(
        scale=SCALE, num=len(sounds), style=Markup(style), script=Markup(script), script_hash=digest, data=Markup(data)
    )
