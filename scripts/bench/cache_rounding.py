"""What rounding of cached features costs a step of ML-SUPERB 1.0: its head under 13 layers, against the same step in float64.

    python scripts/bench/cache_rounding.py [--seeds 3] [--frames 200]

Layers are noise in which 8 of 768 features have a constant part, as features of real models do (of Whisper base, up to 160 times
the standard deviation): the head sees a feature less its mean over the utterance, and a float is rounded relative to its value.
Relative L2 errors, medians over the seeds: of the weighted sum less its mean, of its worst feature, of the loss, of the gradient
(all parameters together, and the median parameter). `fp32` is the step on exact features: what fp32 itself costs.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mlsuperb.cache.codec import DType, decode, encode
from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose
from mlsuperb.heads.featurizer import WeightedSum
from mlsuperb.objectives.ctc import CTC
from mlsuperb.types import Features
from scripts.bench.harness import Table, command_line, save

DTYPES: tuple[DType, ...] = ("fp32", "int16", "bf16", "int8")
MEAN_APART = "fp16, mean apart"  # what int16 was chosen over, at the same size
CONSTANTS = (0, 30, 100, 1000)  # standard deviations
COLUMNS = ("sum", "worst feature", "loss", "gradient", "median parameter")
NUM_LAYERS, BATCH, VOCAB_SIZE, NUM_TOKENS = 13, 4, 100, 12


@dataclass(frozen=True)
class Step:
    """What comes of one step, in float64: the sum less its mean (B, F, D), the loss, gradients by parameter."""

    centred_BFD: Tensor
    loss: Tensor
    gradients: dict[str, Tensor]

    def errors(self, exact: Step) -> list[float]:
        """Of `COLUMNS`."""
        wrong_BFD = self.centred_BFD - exact.centred_BFD
        worst = (wrong_BFD.norm(dim=(0, 1)) / exact.centred_BFD.norm(dim=(0, 1))).max()
        wrong = {name: one - exact.gradients[name] for name, one in self.gradients.items()}
        sizes = {name: one.norm() for name, one in exact.gradients.items()}
        total = torch.stack([one.norm() for one in wrong.values()]).norm() / torch.stack([*sizes.values()]).norm()
        # a bias before a softmax over keys or a norm has no gradient but rounding
        each = [float(wrong[name].norm() / size) for name, size in sizes.items() if size > 1e-6 * max(sizes.values())]
        found = (wrong_BFD.norm() / exact.centred_BFD.norm(), worst, (self.loss - exact.loss).abs() / exact.loss, total)
        return [*map(float, found), statistics.median(each)]


class Model(nn.Module):
    """Featurizer, the head of +exp=v1/..., CTC."""

    def __init__(self, *, size: int) -> None:
        super().__init__()
        self.featurizer = WeightedSum(num_layers=NUM_LAYERS, layer_size=size)
        nn.init.normal_(self.featurizer.logits_L, std=0.3)
        self.head: Any = instantiate(compose(["+exp=v1/multi_asr", "data.root=."])["head"], input_size=size)
        self.ctc = CTC(input_size=self.head.output_size, vocab_size=VOCAB_SIZE)
        self.eval()

    def step(self, layers: Tensor, targets_BS: Tensor) -> Step:
        """On layers (L, B, F, D), all frames valid, in the precision of the model."""
        lengths_B = torch.full((layers.shape[1],), layers.shape[2])
        self.zero_grad()
        sum_BFD = self.featurizer(Features(layers, lengths_B, 50.0))
        loss = self.ctc(self.head(sum_BFD, lengths_B), targets_BS, torch.full_like(lengths_B, targets_BS.shape[1])).loss
        loss.backward()
        gradients = {name: one.grad.double() for name, one in self.named_parameters() if one.grad is not None}
        centred_BFD = (sum_BFD - sum_BFD.mean(1, keepdim=True)).detach().double()
        return Step(centred_BFD, loss.detach().double(), gradients)


def measure(constant: float, *, seed: int, frames: int, size: int = 768) -> dict[str, list[float]]:
    """The errors (`Step.errors`) of each way to keep them, where 8 features have a mean of `constant` standard deviations."""
    torch.manual_seed(seed)
    model = Model(size=size)
    layers = torch.randn(NUM_LAYERS, BATCH, frames, size)
    layers[..., :8] += constant * torch.randn(NUM_LAYERS, 1, 1, 8).sign()
    targets_BS = torch.randint(1, VOCAB_SIZE - 1, (BATCH, NUM_TOKENS))
    of_each = [frames] * BATCH
    kept: dict[str, Tensor] = {one: decode(encode(layers, one, of_each), of_each) for one in DTYPES}
    mean = layers.mean(2, keepdim=True)
    kept[MEAN_APART] = (layers - mean).half().float() + mean
    steps = {name: model.step(one, targets_BS) for name, one in kept.items()}
    model.head.frontend.fewer_products = False  # Winograd's algorithm is for fp32 and below
    with patch.object(Tensor, "float", Tensor.double):  # the parts that are fp32 whatever surrounds them
        exact = model.double().step(layers.double(), targets_BS)
    return {name: step.errors(exact) for name, step in steps.items()}


def main() -> None:
    """Print the table."""
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=200, help="of each of 4 utterances (default: 200)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table, figures = Table("constant part", "kept in", *COLUMNS, text=2), {}
    for constant in CONSTANTS:
        found = [measure(constant, seed=seed, frames=options.frames) for seed in range(options.seeds)]
        for name in found[0]:
            medians = [statistics.median(column) for column in zip(*(one[name] for one in found), strict=True)]
            figures[f"{constant} {name}"] = medians
            table.row(f"{constant} SD", name, *(f"{value:.1e}" for value in medians))
    save(options, figures)


if __name__ == "__main__":
    main()
