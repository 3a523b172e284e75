"""What torch's own parts take on a CPU, as it comes and as `mlsuperb` uses it: fp32 products, dropout, attention with dropout.

    python scripts/bench/cpu_parts.py [--threads 2] [--quick]

Shapes are those of HuBERT-base on 2 utterances of 6 s. A process a side, in turns; the median call of many, forward and backward.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, command_line, in_turns, machine, median, save, seconds, set_up

BATCH, FRAMES, SIZE, HIDDEN, HEADS, RATE = 2, 299, 768, 3072, 12, 0.1
SIDES = ("as it comes", "ours")


def calls(side: str) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    import torch
    from torch import nn

    from mlsuperb.layers.dropout import Dropout, scaled_dot_product_attention

    ours = side == "ours"
    wide = nn.Linear(SIZE, HIDDEN)
    drop = (Dropout if ours else nn.Dropout)(RATE)
    attend: Any = scaled_dot_product_attention if ours else nn.functional.scaled_dot_product_attention
    values_BFD = torch.randn(BATCH, FRAMES, SIZE, requires_grad=True)
    hidden_BFD = torch.randn(BATCH, FRAMES, HIDDEN, requires_grad=True)
    heads = [torch.randn(BATCH, HEADS, FRAMES, SIZE // HEADS, requires_grad=True) for _ in range(3)]

    def both(values: Any) -> None:
        values.backward(torch.ones_like(values))

    return {
        f"linear layer, {SIZE} to {HIDDEN}": lambda: both(wide(values_BFD)),
        f"dropout of {BATCH} x {FRAMES} x {HIDDEN}": lambda: both(drop(hidden_BFD)),
        f"attention with dropout, {HEADS} heads": lambda: both(attend(*heads, dropout_p=RATE)),
    }


def measure(settings: argparse.Namespace) -> Figures:
    """Milliseconds of one call of each, by both clocks."""
    import torch

    device = set_up(settings, as_it_comes=settings.side != "ours")
    torch.manual_seed(0)
    taken: Figures = {}
    for name, call in calls(settings.side).items():
        seconds(call, times=3)
        every = [seconds(call) for _ in range(settings.calls)]
        taken[name] = [1000 * one for one in median(every)]
    return {**taken, "machine": machine(device)}


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__, rounds=5)
    parser.add_argument("--calls", type=int, default=30, help="of each, in each round (default: 30)")
    parser.add_argument("--quick", action="store_true", help="one round of 3 calls")
    options = parser.parse_args()
    options.device = "cpu"
    if options.quick:
        options.rounds, options.calls = 1, 3
    found = in_turns(
        {side: (measure, argparse.Namespace(**vars(options), side=side)) for side in SIDES}, rounds=options.rounds
    )
    print(f"fp32, forward and backward; {found['ours'].pop('machine')}\n")
    found[SIDES[0]].pop("machine")
    table = Table("", "torch as it comes, ms", "ours, ms", "ratio", "of processor time")
    for name, ours in found["ours"].items():
        theirs = found[SIDES[0]][name]
        ratios = [f"{one / other:.2f} x" for one, other in zip(theirs, ours, strict=True)]
        table.row(name, f"{theirs[0]:.2f}", f"{ours[0]:.2f}", *ratios)
    save(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
