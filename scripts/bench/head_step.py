"""Time the part of a step that is left when the features of a frozen upstream are known: weighted sum of the layers,
SpecAugment, utterance norm, projection, Transformer head with its convolution front end, CTC; forward and backward, beside
ESPnet's modules (s3prl's weighted sum, `SpecAug`, `UtteranceMVN`, `LinearProjection`, `TransformerEncoder`, `CTC`) with the
settings of its ML-SUPERB recipe, in fp32 as the recipe has it. Run it with the Python that `scripts/parity_espnet.py` describes:

    .venv-espnet/bin/python scripts/bench/head_step.py --threads 2
    .venv-espnet/bin/python scripts/bench/head_step.py --quick          # 2 s of audio, less often
    .venv-espnet/bin/python scripts/bench/head_step.py --device cuda    # not measured so far

HuBERT-base's shapes: 13 layers, 8 utterances of 6 s (299 frames), 768 features; 60 tokens in the vocabulary, 75 in a text.
Both sides start from the same weights, in turns, a step of each at a time; the loss of one step in evaluation is printed for
both. Peak memory: a child process a side; on a CPU the whole process with its libraries, and beside it what the step added.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Nothing heavy here: Linux hands the peak memory of a process on to the programs that it starts.

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
LAYERS, SIZE, VOCAB_SIZE, TOKENS_A_SECOND, FRAME_RATE_HZ = 13, 768, 60, 12.5, 50
SIDES = ("ours fp32", "ours bf16", "ESPnet fp32", "ESPnet bf16")  # ESPnet in bf16: for who trains it with autocast


@dataclass
class Side:
    """One side of the comparison; `loss()` is that of the batch, `modules` hold the weights."""

    modules: Any
    loss: Callable[[], Any]
    precision: str
    device: Any

    def step(self) -> float:
        """Forward and backward; returns the loss."""
        import torch

        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            loss = self.loss()
        if self.modules.training:
            loss.backward()
            self.modules.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return float(loss.detach())


def make_batch(arguments: argparse.Namespace, device: Any) -> dict[str, Any]:
    """Random layers (L, B, F, D), lengths and targets."""
    import torch

    torch.manual_seed(0)
    batch, frames = arguments.batch, round(arguments.seconds * FRAME_RATE_HZ) - 1
    tokens = round(arguments.seconds * TOKENS_A_SECOND)
    made = {
        "layers": torch.randn(LAYERS, batch, frames, SIZE),
        "lengths_B": torch.full((batch,), frames),
        "targets_BS": torch.randint(1, VOCAB_SIZE - 1, (batch, tokens)),
        "target_lengths_B": torch.full((batch,), tokens),
    }
    return {name: value.to(device) for name, value in made.items()}


def make_ours(batch: dict[str, Any], precision: str, device: Any) -> Side:
    """Our parts, from `conf/`. Layers lie in the cache in the precision of the training."""
    import torch

    from mlsuperb.config.build import instantiate
    from mlsuperb.config.compose import compose
    from mlsuperb.types import Features

    config = compose(["+exp=v1/mono_asr", "data.root=."])
    torch.manual_seed(0)
    featurizer = instantiate(config["featurizer"], num_layers=LAYERS, layer_size=SIZE)
    head = instantiate(config["head"], input_size=SIZE)
    objective = instantiate(config["objective"], input_size=head.output_size, vocab_size=VOCAB_SIZE)
    specaug = instantiate(config["specaug"])
    modules = torch.nn.ModuleList([featurizer, specaug, head, objective]).to(device).train()
    layers = batch["layers"].to(torch.bfloat16 if precision == "bf16" else torch.float32)
    features = Features(layers, batch["lengths_B"], float(FRAME_RATE_HZ))

    def loss() -> Any:
        encoded = head(specaug(featurizer(features), features.lengths_B), features.lengths_B)
        return objective(encoded, batch["targets_BS"], batch["target_lengths_B"]).loss

    return Side(modules, loss, precision, device)


def make_espnet(batch: dict[str, Any], precision: str, device: Any) -> Side:
    """ESPnet's modules, with the weights of ours."""
    from scripts.bench.ordinary import OrdinaryTop

    _, _, head, objective = make_ours(batch, "fp32", device).modules.cpu()
    top = OrdinaryTop(head, objective, num_layers=LAYERS, layer_size=SIZE).to(device).train()
    layers = list(batch["layers"])  # as an upstream gives them
    return Side(
        top,
        lambda: top(layers, batch["lengths_B"], batch["targets_BS"], batch["target_lengths_B"]),
        precision,
        device,
    )


def make_side(name: str, batch: dict[str, Any], device: Any) -> Side:
    whose, precision = name.split()
    return (make_ours if whose == "ours" else make_espnet)(batch, precision, device)


def set_up(arguments: argparse.Namespace) -> Any:
    """Threads and device."""
    import torch

    from mlsuperb.runtime.device import choose_device, prepare_process

    logging.getLogger().setLevel(logging.ERROR)
    torch.set_num_threads(arguments.threads)
    return prepare_process(choose_device(arguments.device))


def peaks_gb(name: str, arguments: argparse.Namespace) -> tuple[float, float]:
    """Peak memory of one side after three steps, and what it was before the first; in this process."""
    from mlsuperb.runtime.speed import peak_memory_gb

    device = set_up(arguments)
    side = make_side(name, make_batch(arguments, device), device)
    before = peak_memory_gb(device)
    for _ in range(3):
        side.step()
    return peak_memory_gb(device), before


def peaks_in_child(name: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--peak", name], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    peak, before = json.loads(done.stdout.splitlines()[-1])
    return peak, before


def main(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    peaks = {name: peaks_in_child(name) for name in SIDES}
    import torch

    from scripts.bench.machine import describe_machine

    device = set_up(arguments)
    batch = make_batch(arguments, device)
    sides = {name: make_side(name, batch, device) for name in SIDES}
    wall_s: dict[str, list[float]] = {name: [] for name in SIDES}
    processor_s: dict[str, list[float]] = {name: [] for name in SIDES}
    for round_number in range(arguments.warm_up + arguments.steps):
        for name, side in sides.items():
            wall, processor = time.perf_counter(), time.process_time()
            side.step()
            if round_number >= arguments.warm_up:
                wall_s[name].append(time.perf_counter() - wall)
                processor_s[name].append(time.process_time() - processor)
    losses = {}
    with torch.no_grad():
        for name, side in sides.items():
            side.modules.eval()
            losses[name] = side.step()
    print(f"{arguments.batch} x {arguments.seconds:g} s, {LAYERS} layers of {SIZE}; {describe_machine(device)}\n")
    print("| side | s / step | processor s | ratio | ratio of processor s | peak, GB | before the step, GB | loss |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    wall, processor = ({k: statistics.median(v) for k, v in one.items()} for one in (wall_s, processor_s))
    for name in SIDES:
        ratios = [f"{one['ESPnet fp32'] / one[name]:.2f} x" for one in (wall, processor)]
        peak, before = peaks[name]
        cells = [name, f"{wall[name]:.3f}", f"{processor[name]:.3f}", *ratios, f"{peak:.2f}", f"{before:.2f}"]
        print(f"| {' | '.join([*cells, f'{losses[name]:.3f}'])} |")


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each utterance (default: 6)")
    parser.add_argument("--steps", type=int, default=9, help="timed, of each side (default: 9)")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="2 s, three steps")
    parser.add_argument("--peak", choices=SIDES, help=argparse.SUPPRESS)  # what a child process is asked for
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seconds, arguments.steps, arguments.warm_up = 2.0, 3, 1
    return arguments


if __name__ == "__main__":
    given = parse()
    if given.peak:
        print(json.dumps(peaks_gb(given.peak, given)))
    else:
        main(given)
