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
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import (
    Figures,
    Table,
    command_line,
    in_child,
    machine,
    median,
    peak_gb,
    save,
    seconds,
    set_up,
)

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
        return float(loss.detach())


def make_batch(settings: argparse.Namespace, device: Any) -> dict[str, Any]:
    """Random layers (L, B, F, D), lengths and targets."""
    import torch

    torch.manual_seed(0)
    batch, frames = settings.batch, round(settings.seconds * FRAME_RATE_HZ) - 1
    tokens = round(settings.seconds * TOKENS_A_SECOND)
    made = {
        "layers": torch.randn(LAYERS, batch, frames, SIZE),
        "lengths_B": torch.full((batch,), frames),
        "targets_BS": torch.randint(1, VOCAB_SIZE - 1, (batch, tokens)),
        "target_lengths_B": torch.full((batch,), tokens),
    }
    return {name: value.to(device) for name, value in made.items()}


def make_ours(batch: dict[str, Any], precision: str, device: Any) -> Side:
    """Our parts, from `conf/`. The cache holds layers in the precision of the training."""
    import torch

    from mlsuperb.types import Features
    from scripts.bench import ours

    torch.manual_seed(0)
    featurizer, head, objective, specaug = ours.top_parts(
        "+exp=v1/mono_asr", num_layers=LAYERS, layer_size=SIZE, vocab_size=VOCAB_SIZE
    )
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
    given = (batch["lengths_B"], batch["targets_BS"], batch["target_lengths_B"])
    return Side(top, lambda: top(layers, *given), precision, device)


def make_side(name: str, batch: dict[str, Any], device: Any) -> Side:
    whose, precision = name.split()
    return (make_ours if whose == "ours" else make_espnet)(batch, precision, device)


def peaks(settings: argparse.Namespace) -> list[float]:
    """Peak memory of one side after three steps, and what it was before the first."""
    device = set_up(settings)
    side = make_side(settings.side, make_batch(settings, device), device)
    before = peak_gb(device)
    for _ in range(3):
        side.step()
    return [peak_gb(device), before]


def steps(settings: argparse.Namespace) -> dict[str, Figures]:
    """Median seconds of a step of every side, in turns inside one process; the loss of one step in evaluation."""
    import torch

    device = set_up(settings)
    batch = make_batch(settings, device)
    sides = {name: make_side(name, batch, device) for name in SIDES}
    rounds = [
        {name: seconds(side.step, device=device) for name, side in sides.items()}
        for _ in range(settings.warm_up + settings.steps)
    ][settings.warm_up :]
    found = {name: {"seconds": median([one[name] for one in rounds]), "machine": machine(device)} for name in sides}
    with torch.no_grad():
        for name, side in sides.items():
            side.modules.eval()
            found[name]["loss"] = side.step()
    return found


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__, device="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each utterance (default: 6)")
    parser.add_argument("--steps", type=int, default=9, help="timed, of each side (default: 9)")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="2 s, three steps")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.steps, options.warm_up = 2.0, 3, 1
    memory = {name: in_child(peaks, options, side=name) for name in SIDES}
    found = in_child(steps, options)
    print(f"{options.batch} x {options.seconds:g} s, {LAYERS} layers of {SIZE}; {found[SIDES[0]]['machine']}\n")
    columns = ("s / step", "processor s", "ratio", "ratio of processor s", "peak, GB", "before the step, GB", "loss")
    table, espnet_s = Table("side", *columns), found["ESPnet fp32"]["seconds"]
    for name, row in found.items():
        ratios = [f"{theirs / ours:.2f} x" for theirs, ours in zip(espnet_s, row["seconds"], strict=True)]
        numbers = [f"{one:.3f}" for one in row["seconds"]], [f"{one:.2f}" for one in memory[name]]
        table.row(name, *numbers[0], *ratios, *numbers[1], f"{row['loss']:.3f}")
    save(options, {name: row | {"peak_and_before_gb": memory[name]} for name, row in found.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
