"""Processor seconds of a frozen upstream on utterances alone and in batches, on a CPU.

    python scripts/bench/frozen_alone.py --threads 1 [--model hubert_base] [--precision bf16]

`mlsuperb/upstreams/frozen.py` encodes each alone. Waves are noise and weights random: neither changes what there is to compute.
Both sides run in one process and take turns.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, command_line, in_child, machine, median, save, seconds, set_up

BATCHES_S = {  # seconds of each utterance
    "8 of 6 s": [6.0] * 8,
    "8 of 5.5 to 6.5 s": [5.5, 5.7, 5.9, 6.0, 6.2, 6.3, 6.4, 6.5],
    "4 of 2 to 8 s": [2.0, 4.0, 6.0, 8.0],
    "16 of 1 s": [1.0] * 16,
}


def measure(settings: argparse.Namespace) -> Figures:
    """Processor seconds by batch: [alone, in the batch], the median of the rounds."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from mlsuperb.runtime.device import autocast
    from mlsuperb.upstreams.frozen import frozen_features
    from mlsuperb.upstreams.kaldi_mfcc import KaldiMFCC
    from mlsuperb.upstreams.random_hubert import RandomHubert
    from scripts import real_models

    device, small = set_up(settings), {"tiny": RandomHubert, "mfcc": KaldiMFCC}
    upstream = small[settings.model]() if settings.model in small else real_models.make_upstream(settings.model)
    upstream.eval()
    found: Figures = {"machine": machine(device)}
    for name, durations_s in BATCHES_S.items():
        waves = [0.1 * torch.randn(round(16_000 * one)) for one in durations_s]
        batch = pad_sequence(waves, batch_first=True), torch.tensor([len(wave_T) for wave_T in waves])
        with torch.inference_mode(), autocast(device, settings.precision):
            taken = [
                [seconds(lambda: side(*batch))[1] for side in (lambda *one: frozen_features(upstream, *one), upstream)]  # noqa: B023
                for _ in range(1 + settings.rounds)
            ]
        found[name] = median(taken[1:])
    return found


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__, rounds=3)
    parser.add_argument(
        "--model", action="append", help="repeatable: tiny, mfcc, hubert_base (default), xls_r_300m, ..."
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    table, every = Table("upstream", "batch", "alone, s", "in the batch, s", "ratio", text=2), {}
    for model in options.model or ["hubert_base"]:
        every[model] = found = in_child(measure, options, model=model, device="cpu")
        for name in BATCHES_S:
            alone, together = found[name]
            table.row(model, name, f"{alone:.3f}", f"{together:.3f}", f"{alone / together:.2f} x")
    print(f"{options.precision}, {found['machine']}")
    save(options, every)


if __name__ == "__main__":
    main()
