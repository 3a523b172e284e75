"""Damaged audio of every kind through the reader: each file is read right, or counted with a reason.

python scripts/attack/audio.py --count 500 --seed 0

A file of noise in a random coding, rate and number of channels is cut, joined, overwritten, given a wrong length or rate, or
left alone; then it is looked at as `mlsuperb data prepare` does, and read. It is a failure if anything but `AudioError` comes
out, if a file that was not touched is refused, if one that was taken cannot be read, or if it takes more than a minute or 2 GB.
Sound that is wrong without a sign of it counts as `read all the same`: no reader can tell a flipped bit of an MP3.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from mlsuperb.data.audio import load_audio
from mlsuperb.data.audio_file import AudioError, audio_info

CODINGS = (
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("WAV", "ULAW"), ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("W64", "PCM_16"), ("CAF", "PCM_16"), ("NIST", "PCM_16"),
    ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
)  # fmt: skip
RATES_HZ = (8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000)
ODD_RATES_HZ = (16_001, 22_254, 47_999)  # of files that are not compressed
LONGEST_S, MOST_GB = 60.0, 2.0


@dataclass(frozen=True)
class Case:
    """A file, and what was done to it."""

    content: bytes
    coding: str
    damage: str


def _plain(rng: np.random.Generator) -> tuple[bytes, str]:
    coding, subtype = CODINGS[rng.integers(len(CODINGS))]
    odd = coding in ("WAV", "AIFF") and rng.random() < 0.2
    rate_hz = int(
        rng.choice((8_000, 12_000, 16_000, 24_000, 48_000) if subtype == "OPUS" else ODD_RATES_HZ if odd else RATES_HZ)
    )
    shape = (int(rate_hz * rng.uniform(0.05, 3.0)), int(rng.integers(1, 3)))
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * rng.standard_normal(shape), rate_hz, format=coding, subtype=subtype)
    return buffer.getvalue(), coding


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content)))]


def _joined(content: bytes, rng: np.random.Generator) -> bytes:
    return content + (content if rng.random() < 0.5 else _plain(rng)[0])


def _flipped(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for at in rng.integers(len(content), size=rng.integers(1, 20)):
        changed[at] ^= int(rng.integers(1, 256))
    return bytes(changed)


def _header(content: bytes, rng: np.random.Generator) -> bytes:
    """Some of the first bytes, where lengths and rates stand."""
    at, size = int(rng.integers(64)), int(rng.integers(1, 9))
    value = rng.choice([b"\xff", b"\0", b"\x7f"]) * size if rng.random() < 0.5 else rng.bytes(size)
    return content[:at] + value + content[at + size :]


def _overwritten(content: bytes, rng: np.random.Generator) -> bytes:
    at, size = int(rng.integers(len(content))), int(rng.integers(1, 2000))
    return content[:at] + (bytes(size) if rng.random() < 0.5 else rng.bytes(size)) + content[at + size :]


def _without_a_part(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    return content[:at] + content[at + int(rng.integers(1, 2000)) :]


def _no_sound(content: bytes, rng: np.random.Generator) -> bytes:
    """Floats that are no samples."""
    value = rng.choice([np.nan, np.inf, -np.inf, 3e38, 17_519.0])
    buffer, wave_T = io.BytesIO(), np.zeros(8000, np.float32)
    wave_T[rng.integers(8000)] = value
    soundfile.write(buffer, wave_T, 8000, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def _random(content: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(int(rng.integers(5000)))


DAMAGES: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "none": lambda content, _: content, "cut": _cut, "joined": _joined, "flipped": _flipped, "header": _header,
    "overwritten": _overwritten, "part missing": _without_a_part, "no sound": _no_sound, "random bytes": _random,
}  # fmt: skip


def make(seed: int, number: int) -> Case:
    """Case `number` of a seed."""
    rng = np.random.default_rng([seed, number])
    content, coding = _plain(rng)
    damage = list(DAMAGES)[int(rng.integers(len(DAMAGES)))]
    return Case(DAMAGES[damage](content, rng), coding, damage)


def outcome(case: Case, folder: Path) -> str:
    """What became of a case: `read`, `read all the same`, `counted: REASON`, or `FAILED: ...`."""
    path = folder / "case"
    path.write_bytes(case.content)
    start = time.monotonic()
    try:
        info = audio_info(path, decode=True)
        wave_T = load_audio(path) if info.num_samples else np.zeros(1, np.float32)
    except AudioError as error:
        found = f"counted: {error.fault}" if case.damage != "none" else f"FAILED: a sound file: {error}"
    except Exception:  # noqa: BLE001  # what it looks for
        found = "FAILED: " + traceback.format_exc()
    else:
        found = "read" if case.damage == "none" else "counted: cut" if info.missing_s else "read all the same"
        if info.num_samples and not (np.isfinite(wave_T).all() and len(wave_T)):
            found = "FAILED: no sound was read"
    if (took_s := time.monotonic() - start) > LONGEST_S:
        found = f"FAILED: {took_s:.0f} s"
    return found


def main() -> int:
    """1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    outcomes: Counter[str] = Counter()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.count):
            case = make(options.seed, number)
            found = outcome(case, Path(folder))
            outcomes[found if not found.startswith("FAILED") else "failed"] += 1
            if found.startswith("FAILED"):
                failed.append({"number": number, "coding": case.coding, "damage": case.damage, "why": found})
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if peak_gb > MOST_GB:
        failed.append({"why": f"{peak_gb:.1f} GB of memory"})
    print(json.dumps({"inputs": options.count, "outcomes": dict(sorted(outcomes.items())), "failed": failed}, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
