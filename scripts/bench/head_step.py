"""Time the part of a step that is left when the features of a frozen upstream are known: weighted sum of the layers,
SpecAugment, utterance norm, projection, Transformer head with its convolution front end, CTC; forward and backward, beside
ESPnet's modules (s3prl's weighted sum, `SpecAug`, `UtteranceMVN`, `LinearProjection`, `TransformerEncoder`, `CTC`) with the
settings of its ML-SUPERB recipe, in fp32 as the recipe has it. Run it with the Python that `scripts/parity_espnet.py` describes:

    .venv-espnet/bin/python scripts/bench/head_step.py --threads 2
    .venv-espnet/bin/python scripts/bench/head_step.py --quick          # 2 s of audio, less often
    .venv-espnet/bin/python scripts/bench/head_step.py --device cuda    # not measured so far

HuBERT-base's shapes: 13 layers, 8 utterances of 6 s (299 frames), 768 features; 60 tokens in the vocabulary, 75 in a text.
Both sides start from the same weights, each measurement in a process of its own, in turns; the loss of one step in evaluation
is printed for both. Peak memory: on a CPU the whole process with its libraries, and beside it what was there before the steps.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench import harness
from scripts.bench.harness import Figures, Table

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


def measure(settings: argparse.Namespace) -> Figures:
    """Median seconds of a step of one side, the loss of one step in evaluation, peak memory and what it was before."""
    import torch

    whose, precision = settings.side.split()
    device = harness.set_up(settings, as_it_comes=whose != "ours")
    side = (make_ours if whose == "ours" else make_espnet)(make_batch(settings, device), precision, device)
    before = harness.peak_gb(device)
    taken = [harness.seconds(side.step, device=device) for _ in range(settings.warm_up + settings.steps)]
    figures = {"seconds": harness.median(taken[settings.warm_up :]), "memory_gb": [harness.peak_gb(device), before]}
    side.modules.eval()
    with torch.no_grad():
        return figures | {"loss": side.step(), "machine": harness.machine(device)}


def main() -> int:
    """Measure and print."""
    parser = harness.command_line(__doc__, rounds=3, device="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each utterance (default: 6)")
    parser.add_argument("--steps", type=int, default=3, help="timed, in each round (default: 3)")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="2 s, one round")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds, options.warm_up = 2.0, 1, 1
    sides = {name: (measure, argparse.Namespace(**vars(options), side=name)) for name in SIDES}
    found = harness.in_turns(sides, rounds=options.rounds)
    print(f"{options.batch} x {options.seconds:g} s, {LAYERS} layers of {SIZE}; {found[SIDES[0]]['machine']}\n")
    columns = ("s / step", "processor s", "ratio", "ratio of processor s", "peak, GB", "before the step, GB", "loss")
    table, espnet_s = Table("side", *columns), found["ESPnet fp32"]["seconds"]
    for name, row in found.items():
        ratios = [f"{theirs / ours:.2f} x" for theirs, ours in zip(espnet_s, row["seconds"], strict=True)]
        taken, memory = [f"{one:.3f}" for one in row["seconds"]], [f"{one:.2f}" for one in row["memory_gb"]]
        table.row(name, *taken, *ratios, *memory, f"{row['loss']:.3f}")
    harness.save(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
