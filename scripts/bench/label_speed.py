"""Processor seconds of the parts of labelling on one core: MFCCs, the search of the nearest of K units, HuBERT up to a layer.

    python scripts/bench/label_speed.py --threads 1 [--layer 9]

The wave is noise, the encoder's weights are random: neither changes what there is to compute. A CPU says what a GPU would have to
do, not how fast it does it. Reading and decoding are in scripts/bench/shards.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, command_line, in_turns, machine, save, seconds, set_up

SIDES = ("MFCC", "units of MFCCs", "HuBERT base", "units of a layer")


def measure(settings: argparse.Namespace) -> Figures:
    """Seconds of one part for `--seconds` of audio."""
    import numpy as np
    import torch

    from mlsuperb.units.clustering import FaissKMeans
    from mlsuperb.upstreams.kaldi_mfcc import KaldiMFCC
    from mlsuperb.upstreams.new_hubert import NewHubert

    device, side = set_up(settings), settings.side
    wave_BT = 0.1 * torch.randn(8, round(settings.seconds / 8 * 16000), generator=torch.Generator().manual_seed(0))
    lengths_B = torch.full((8,), wave_BT.shape[1])
    if side in ("MFCC", "HuBERT base"):
        upstream = KaldiMFCC() if side == "MFCC" else NewHubert()
        if side != "MFCC":
            upstream.cut_above(settings.layer)
        upstream = upstream.to(device).eval()
        with torch.inference_mode():
            taken = [seconds(lambda: upstream(wave_BT, lengths_B)) for _ in range(2)]
    else:
        size, rate_hz = (39, 100) if side == "units of MFCCs" else (768, 50)
        rng = np.random.default_rng(0)
        clustering = FaissKMeans(num_units=settings.units, projected_size=None if size == 39 else 64, opq_iterations=1)
        fitted = rng.standard_normal((40 * settings.units, size), dtype=np.float32)
        codebook = clustering.fit(fitted, rate_hz=rate_hz, seed=0, record={}).to(device)
        features_FD = torch.from_numpy(rng.standard_normal((round(settings.seconds * rate_hz), size), dtype=np.float32))
        taken = [seconds(lambda: codebook.assign(features_FD)) for _ in range(2)]
    return {"seconds": taken[-1], "machine": machine(device)}


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__, rounds=3, device="cpu")
    parser.add_argument("--seconds", type=float, default=80.0, help="of audio (default: 80)")
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--layer", type=int, default=9, help="the last that is computed (default: 9)")
    options = parser.parse_args()
    sides = {name: (measure, argparse.Namespace(**vars(options), side=name)) for name in SIDES}
    found = in_turns(sides, rounds=options.rounds)
    print(f"{options.seconds:g} s, K = {options.units}, layer {options.layer}; {found[SIDES[0]]['machine']}\n")
    table = Table("part", "processor s", "times real time", "frames / s")
    for name, row in found.items():
        processor_s, rate_hz = row["seconds"][1], 100 if "MFCC" in name else 50
        speed = options.seconds / processor_s
        table.row(name, f"{processor_s:.3f}", f"{speed:,.1f}", f"{speed * rate_hz:,.0f}")
    save(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
