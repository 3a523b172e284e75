"""Where the time of one training step goes, by torch's profiler: on the known features of a frozen HuBERT-base, with the head of
`+exp=v1/mono_asr`; under a frozen one that is run in every step; and of one that is fine-tuned.

    python scripts/gpu/profile_step.py [--device cuda] [--quick]

The published sizes with random weights, 8 utterances of 6 s in bf16. A table for each: the operators that take most of the
device's own time, then how much of the step it is busy at all. What is missing, on a GPU, is time in which it waits for the host.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, clocks, command_line, in_child, machine, save, set_up

NUM_SHOWN, VOCAB_SIZE, NUM_TOKENS, WARM_UP = 12, 60, 40, 3
KNOWN = "known features"
STEPS = {KNOWN: "", "frozen": "adaptation=frozen", "fine-tuned": "adaptation=full"}


def make_step(settings: argparse.Namespace, device: Any) -> Callable[[], object]:
    """Forward and backward of a batch."""
    import torch

    from scripts import real_models
    from scripts.bench import ours
    from scripts.bench.head_step import make_batch, make_ours

    torch.manual_seed(0)
    if settings.what == KNOWN:
        return make_ours(make_batch(settings, device), "bf16", device).step
    upstream = None if settings.quick else real_models.make_upstream("hubert_base")
    small = ["upstream=tiny", "head=transformer_light"] if settings.quick else []
    model, _ = ours.model_around(upstream, "+exp=v2/frozen", *small, STEPS[settings.what], vocab_size=VOCAB_SIZE)
    model.to(device).train()
    waves = 0.1 * torch.randn(settings.batch, round(settings.seconds * ours.RATE_HZ))
    targets = torch.randint(2, VOCAB_SIZE - 1, (settings.batch, NUM_TOKENS))
    batch = ours.batch_of(list(waves), list(targets)).to(device)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = model(batch).loss
        loss.backward()
        model.zero_grad(set_to_none=True)

    return step


def measure(settings: argparse.Namespace) -> Figures:
    """Milliseconds of a step without the profiler, and of each operator's own work on the device with it."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    device = set_up(settings)
    step, gpu = make_step(settings, device), device.type == "cuda"
    for _ in range(WARM_UP):
        step()
    start_s = clocks(device)[0]
    step()
    step_ms = 1000 * (clocks(device)[0] - start_s)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as found:
        step()
        clocks(device)
    name = "self_device_time_total" if gpu else "self_cpu_time_total"
    own_ms = {one.key: getattr(one, name) / 1000 for one in found.key_averages()}
    torch.cuda.empty_cache()
    return {"step_ms": step_ms, "own_ms": own_ms, "machine": machine(device)}


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__, device="cuda")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each utterance (default: 6)")
    parser.add_argument("--quick", action="store_true", help="a small model, 2 utterances of 1 s")
    options = parser.parse_args()
    if options.quick:
        options.batch, options.seconds = 2, 1.0
    figures = {what: in_child(measure, options, what=what) for what in STEPS}
    for what, row in figures.items():
        busy_ms = sum(row["own_ms"].values())
        print(f"{what}: {row['step_ms']:.1f} ms a step; {row['machine']}\n")
        table = Table(f"operator ({what})", "ms", "of the step")
        for name, taken_ms in sorted(row["own_ms"].items(), key=lambda item: -item[1])[:NUM_SHOWN]:
            table.row(f"`{name}`", f"{taken_ms:.2f}", f"{taken_ms / row['step_ms']:.0%}")
        table.row("all operators", f"{busy_ms:.2f}", f"{busy_ms / row['step_ms']:.0%}")
        print()
    save(options, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
