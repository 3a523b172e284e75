"""Folders of labels of known quality, beside the phones that they fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mlsuperb.units.codebook import Codebook
from mlsuperb.units.labels import About, LabelFolder
from mlsuperb.units.phones import Interval, Phones, aligned

RATE_HZ = 50.0
NAMES = ("a", "b", "c", "d")


def made_phones(num: int, *, seed: int = 0, languages: tuple[str, ...] = ("deu", "swa")) -> Phones:
    """`num` utterances, of the languages in turn, of 20 phones each, between silences."""
    rng = np.random.default_rng(seed)
    found: Phones = {}
    for number in range(num):
        times = np.cumsum([0.0, *rng.integers(3, 8, 22) * 0.02]).round(3).tolist()
        inner = [NAMES[place] for place in rng.integers(0, len(NAMES), 20)]
        intervals = [Interval(*one) for one in zip(times, times[1:], ["SIL", *inner, "SIL"], strict=False)]
        found[f"utt_{languages[number % len(languages)]}_{number:03d}"] = intervals
    return found


def write_tsv(path: Path, phones: Phones) -> Path:
    """The phones as a table."""
    lines = (f"{name}\t{one.start_s}\t{one.end_s}\t{one.phone}\n" for name, rows in phones.items() for one in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def write_labels(folder: Path, phones: Phones, *, noise: float = 0.0, num_units: int = 8, seed: int = 0) -> Path:
    """Labels of a run: the number of the phone of each frame, or with probability `noise` any unit. Two speakers."""
    rng = np.random.default_rng(seed)
    index = {name: place for place, name in enumerate(("SIL", *NAMES))}
    labels = []
    for intervals in phones.values():
        units_F = aligned(intervals, num_frames=round(intervals[-1].end_s * RATE_HZ), rate_hz=RATE_HZ, index=index)
        labels.append(np.where(rng.random(len(units_F)) < noise, rng.integers(0, num_units, len(units_F)), units_F))
    manifest = pd.DataFrame(
        {
            "id": list(phones),
            "audio": "none.wav",
            "start_s": 0.0,
            "duration_s": [rows[-1].end_s for rows in phones.values()],
            "text": "",
            "language": [name.split("_")[1] for name in phones],
            "dataset": "made",
            "split": "dev",
            "speaker": [f"s{number // 2 % 2}" for number in range(len(phones))],
        }
    )
    book = Codebook(centroids_KP=torch.zeros(num_units, 2), rate_hz=RATE_HZ)
    about = About(
        codebook=book.sha256, rate_hz=RATE_HZ, num_units=num_units, num_rows=len(phones), rows_per_shard=len(phones)
    )
    target = LabelFolder(folder / "labels", about)
    target.begin(manifest)
    target.write(0, labels)
    return folder
