"""A few seconds of noise with transcripts, in the layout of ML-SUPERB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile


def write_speech(
    root: Path, languages: Sequence[str], *, longest_s: float | None = None, text: str = "guten Tag"
) -> Path:
    """Four utterances to train on, one to validate and two to test in each language.

    Args:
        longest_s: of the last utterance of each split.
    """
    rng = np.random.default_rng(0)
    for language in languages:
        folder = root / "a" / language
        (folder / "wav").mkdir(parents=True)
        for split, num in (("train", 4), ("dev", 1), ("test", 2)):
            lines = []
            for number in range(num):
                name, length = f"{language}_{split}_{number}", 12000 + 3000 * number
                if longest_s is not None and number == num - 1:
                    length = round(16000 * longest_s)
                soundfile.write(folder / "wav" / f"{name}.wav", 0.1 * rng.standard_normal(length), 16000)
                lines.append(f"{name}\tx\t{text}")
            (folder / f"transcript_10min_{split}.txt").write_text("\n".join(lines) + "\n")
    return root
