"""Seconds it takes to make one hour of speech with the built-in corpus.

    python scripts/bench/synthesis_speed.py [--minutes 60] [--languages deu,fin,kat,spa,swa,tur] [--datasets studio]

One process and, with OMP_NUM_THREADS=1, one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from mlsuperb.data.corpora.synthetic import DEFAULT_LANGUAGES
from mlsuperb.data.synthesis.tree import TreeSettings, make_tree

_WAV_HEADER_BYTES, _BYTES_A_SECOND = 44, 32_000


def main() -> None:
    """Make the speech in a scratch folder and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="minutes of speech, all pairs and splits together")
    parser.add_argument("--languages", default=",".join(DEFAULT_LANGUAGES), help="ISO 639-3 codes, commas between")
    parser.add_argument("--datasets", default="studio", help="recording conditions, commas between")
    arguments = parser.parse_args()
    languages, datasets = arguments.languages.split(","), arguments.datasets.split(",")
    share = arguments.minutes / (len(languages) * len(datasets))
    settings = TreeSettings(minutes=0.8 * share, test_minutes=0.1 * share, seed=0)
    pairs = [(language, dataset) for language in languages for dataset in datasets]
    with TemporaryDirectory() as root:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        tree = make_tree(Path(root), settings, pairs=pairs)
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        sizes = [path.stat().st_size for path in tree.glob("*/*/wav/*.wav")]
    made_s = sum(size - _WAV_HEADER_BYTES for size in sizes) / _BYTES_A_SECOND
    print(f"made {made_s / 60:.1f} minutes in {len(sizes)} utterances, {len(languages)} languages")
    print(
        f"wall {wall_s:.1f} s, processor {cpu_s:.1f} s: {cpu_s / made_s * 3600:.1f} s an hour of speech, "
        f"{made_s / cpu_s:.0f} x real time"
    )


if __name__ == "__main__":
    main()
