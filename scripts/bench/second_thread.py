"""A training step on known features (`head_step.py`, ours), beside an idle thread of the same process: one that has only written
and read, and one that has computed with torch, if only once.

    python scripts/bench/second_thread.py [--threads 2] [--quick]

libgomp gives each thread that computes OpenMP threads of its own. While there are more of them in a process than cores, a thread
at a barrier goes to sleep almost at once, even where GOMP_SPINCOUNT says otherwise, and is late when the others arrive. So what
`mlsuperb` does beside a training (the feature cache's writer) must not compute.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from threading import Event, Thread
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench import harness
from scripts.bench.harness import Figures, Table

BATCH, SECONDS, WARM_UP = 8, 3.0, 3  # utterances, their length, steps before those that are timed
SIDES = {"ours": False, "ours after a second thread has computed": True}


def leave_a_thread(*, computed: bool) -> None:
    """A thread that stays, idle."""
    import torch

    values, began = torch.randn(4096, 1024), Event()

    def stay() -> None:
        if computed:
            values + 1
        began.set()
        Event().wait()

    Thread(target=stay, daemon=True).start()
    began.wait()


def measure(settings: argparse.Namespace) -> Figures:
    """Median seconds of a step in bf16."""
    from scripts.bench.head_step import make_batch, make_ours

    device = harness.set_up(settings)
    batch = make_batch(argparse.Namespace(batch=BATCH, seconds=SECONDS), device)
    side = make_ours(batch, "bf16", device)
    leave_a_thread(computed=settings.computed)
    taken = [harness.seconds(side.step) for _ in range(WARM_UP + settings.steps)]
    return {"seconds": harness.median(taken[WARM_UP:]), "machine": harness.machine(device)}


def main() -> int:
    """Measure and print."""
    parser = harness.command_line(__doc__, rounds=5, device="cpu")
    parser.add_argument("--steps", type=int, default=10, help="timed, in each round (default: 10)")
    parser.add_argument("--quick", action="store_true", help="one round of 2 steps")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps = 1, 2
    sides: dict[str, tuple[Any, Any]] = {
        name: (measure, argparse.Namespace(**vars(options), computed=computed)) for name, computed in SIDES.items()
    }
    found = harness.in_turns(sides, rounds=options.rounds)
    print(f"{BATCH} x {SECONDS:g} s, bf16, medians of {options.rounds}; {found['ours']['machine']}\n")
    table, (alone_s, _) = Table("", "s / step", "processor s", "of the first"), found["ours"]["seconds"]
    for name, row in found.items():
        wall_s, processor_s = row["seconds"]
        table.row(name, f"{wall_s:.3f}", f"{processor_s:.3f}", f"{wall_s / alone_s:.2f} x")
    harness.save(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
