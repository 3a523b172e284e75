"""Where the time of one training step goes, by torch's profiler: on the known features of a frozen HuBERT-base, with the head of
`+exp=v1/mono_asr`; under a frozen one that is run in every step; and of one that is fine-tuned.

    python scripts/gpu/profile_step.py [--device cuda] [--quick]

The published sizes with random weights, 8 utterances of 6 s in bf16. A table for each: what takes most of the device's own time
(operators on a CPU, kernels on a GPU), then how much of the step it is busy at all. What is missing, on a GPU, is time in which
it waits for the host.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, clocks, command_line, in_child, machine, save, set_up

NUM_SHOWN, MAX_NAME = 12, 100  # rows, and characters of a kernel's name
VOCAB_SIZE, NUM_TOKENS, WARM_UP = 60, 40, 3
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
    """Milliseconds of a step without the profiler, and with it those of the device's own work: all, and by name the most."""
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
    all_ms = own_ms(found.key_averages(), gpu=gpu)
    most = sorted(all_ms, key=lambda name: -all_ms[name])[:NUM_SHOWN]
    busy_ms, kind = sum(all_ms.values()), "kernel" if gpu else "operator"
    return {
        "step_ms": step_ms,
        "busy_ms": busy_ms,
        "kind": kind,
        "own_ms": {name: all_ms[name] for name in most},
        "machine": machine(device),
    }


def own_ms(rows: Iterable[Any], *, gpu: bool) -> dict[str, float]:
    """Milliseconds of a GPU's kernels or a CPU's operators, by name, from `key_averages()`. Of a GPU's rows those of its kernels
    count alone: an operator's row has the time of its kernels once more (pytorch#60783), and so has a named range's."""
    from torch.autograd import DeviceType

    wanted, column = (DeviceType.CUDA, "self_device_time_total") if gpu else (DeviceType.CPU, "self_cpu_time_total")
    found: dict[str, float] = defaultdict(float)
    for row in rows:
        if row.device_type == wanted and not (gpu and row.is_user_annotation):
            found[row.key] += getattr(row, column) / 1000
    return dict(found)


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__, device="cuda")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each utterance (default: 6)")
    parser.add_argument("--quick", action="store_true", help="a small model, 2 utterances of 1 s")
    options = parser.parse_args()
    if options.quick:
        options.batch, options.seconds = 2, 1.0
    figures: dict[str, Figures] = {}
    for what in STEPS:
        figures[what] = row = in_child(measure, options, what=what)
        show(what, row)
        save(options, figures, unfinished=True)
    save(options, figures)
    return 0


def show(what: str, row: Figures) -> None:
    """The table of a step."""
    print(f"{what}: {row['step_ms']:.1f} ms a step; {row['machine']}\n")
    table = Table(f"{row['kind']} ({what})", "ms", "of the step")
    named = [(f"`{name[:MAX_NAME].replace('|', ' ')}`", taken_ms) for name, taken_ms in row["own_ms"].items()]
    for name, taken_ms in [*named, (f"all {row['kind']}s", row["busy_ms"])]:
        table.row(name, f"{taken_ms:.2f}", f"{taken_ms / row['step_ms']:.0%}")
    print()


if __name__ == "__main__":
    sys.exit(main())
