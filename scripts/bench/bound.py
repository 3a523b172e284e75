"""How much of a frozen run is matrix products, and what they would take at the speed of the fastest one that this machine does:
what no change to the rest could go below.

    python scripts/bench/bound.py [--threads 2] [--quick]

A frozen HuBERT-base (published configuration, random weights) on utterances of 3 s, and a training step on its features with the
head of `+exp=v1/mono_asr` (`head_step.py`, ours), both in bf16. Operations are counted by torch (`FlopCounterMode`); ours has
fewer than the definition of its convolution asks for (`mlsuperb/layers/winograd.py`). The fastest product is the best of some
sizes of square ones. The run is that of `frozen_run.py`: 500 steps, 20 minutes of speech through the upstream once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, command_line, in_turns, machine, median, save, seconds, set_up

SQUARES, STEPS, SPEECH_S = (1024, 2048, 3072), 500, 1200.0
PARTS = {"upstream": "upstream, a second of speech", "step": "training step, 8 x 3 s"}


def measure(settings: argparse.Namespace) -> Figures:
    """Seconds and operations of both parts, and the most operations a second of a product."""
    from torch.utils.flop_counter import FlopCounterMode

    device = set_up(settings)
    figures: Figures = {"peak_per_s": max(product_per_s(size, settings.calls) for size in SQUARES)}
    parts = {"step": training_step(settings, device), "upstream": encoding(settings, device)}
    for name, (call, units) in parts.items():
        seconds(call, times=2)
        taken_s = median([seconds(call) for _ in range(settings.calls)])[0]
        with FlopCounterMode(display=False) as counter:
            call()
        figures[name] = [taken_s / units, counter.get_total_flops() / units]
    return {**figures, "machine": machine(device)}


def product_per_s(size: int, calls: int) -> float:
    """Operations a second of a product of two square bf16 matrices, at best."""
    import torch

    one, other = (torch.randn(size, size).bfloat16() for _ in range(2))
    return 2 * size**3 / min(seconds(lambda: one @ other)[0] for _ in range(calls + 1))


def training_step(settings: argparse.Namespace, device: Any) -> tuple[Callable[[], object], float]:
    """Forward and backward on known features; one of it."""
    from scripts.bench.head_step import make_batch, make_ours

    return make_ours(make_batch(settings, device), "bf16", device).step, 1.0


def encoding(settings: argparse.Namespace, device: Any) -> tuple[Callable[[], object], float]:
    """The upstream on as many utterances, and their seconds."""
    import torch

    from mlsuperb.runtime.device import autocast
    from mlsuperb.upstreams.frozen import frozen_features
    from scripts import real_models
    from scripts.bench.ours import RATE_HZ

    upstream = real_models.make_upstream("hubert_base").eval().requires_grad_(False)
    wave_BT = 0.1 * torch.randn(settings.batch, round(settings.seconds * RATE_HZ))
    lengths_B = torch.full((settings.batch,), wave_BT.shape[1])

    def encode() -> None:
        with torch.no_grad(), autocast(device, "bf16"):
            frozen_features(upstream, wave_BT, lengths_B)

    return encode, settings.batch * settings.seconds


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__, rounds=3, device="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each utterance (default: 3)")
    parser.add_argument("--calls", type=int, default=8, help="of each part, in each round (default: 8)")
    parser.add_argument("--quick", action="store_true", help="one round of one call, of 1 s")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.calls, options.seconds = 1, 1, 1.0
    found = in_turns({"ours": (measure, options)}, rounds=options.rounds)["ours"]
    peak_per_s = found["peak_per_s"]
    print(f"fastest product: {peak_per_s / 1e9:.0f} GFLOP/s; {found['machine']}\n")
    table = Table("", "products, GFLOP", "at the speed of the fastest, ms", "measured, ms", "share")
    rows = {shown: found[name] for name, shown in PARTS.items()}
    rows["the whole run"] = [SPEECH_S * a + STEPS * b for a, b in zip(found["upstream"], found["step"], strict=True)]
    for name, (taken_s, operations) in rows.items():
        least_s = operations / peak_per_s
        table.row(
            name,
            f"{operations / 1e9:,.1f}",
            f"{1000 * least_s:,.0f}",
            f"{1000 * taken_s:,.0f}",
            f"{least_s / taken_s:.0%}",
        )
    save(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
