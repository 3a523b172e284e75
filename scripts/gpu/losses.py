"""The same training on the CPU and on a GPU, in fp32 from the same weights on the same batches, without dropout: how far the
losses are from each other.

    python scripts/gpu/losses.py [--device cuda] [--steps 10] [--quick]

Small models, one for each head, objective and adaptation. Exits with 1 if a loss differs by more than 1e-4 of its size.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Table, command_line, machine, save, set_up

MOST = 1e-4
VOCAB_SIZE, SAMPLES = 30, (32_000, 24_000, 17_000, 9_000)
COMMON = ["data=synthetic", "upstream=tiny", "head.size=64", "head.ffn_size=128", "head.num_blocks=2", "task=asr_lid"]
MODELS = {
    "transformer": ["head=transformer_small"],
    "conformer": ["head=conformer_small"],
    "e_branchformer": ["head=e_branchformer_small"],
    "ctc_attention": ["head=transformer_small", "objective=ctc_attention", "decoding=joint_beam"],
    "ctc_dro": ["head=transformer_small", "objective=ctc_dro"],
    "ctc_hierarchical": ["head=transformer_small", "objective=ctc_hierarchical"],
    "classifier": ["head=transformer_small", "task=lid", "objective=classifier_ecapa", "decoding=argmax"],
    "full": ["head=transformer_small", "adaptation=full"],
    "lora": ["head=transformer_small", "adaptation=lora"],
    "houlsby": ["head=transformer_small", "adaptation=houlsby"],
}


def batch(*, utterance_level: bool) -> Any:
    """Noise, with random targets."""
    import torch

    from scripts.bench import ours

    torch.manual_seed(1)
    num_tokens = 1 if utterance_level else 8
    waves = [0.1 * torch.randn(length) for length in SAMPLES]
    targets = [torch.randint(3, VOCAB_SIZE - 1, (num_tokens,)) for _ in SAMPLES]
    return replace(ours.batch_of(waves, targets), languages=("deu", "swa") * (len(SAMPLES) // 2))


def losses(overrides: list[str], device: Any, *, steps: int) -> list[float]:
    """Of a training of so many steps."""
    import torch

    from scripts.bench import ours

    torch.manual_seed(0)
    model, _ = ours.model_around(None, *COMMON, *overrides, vocab_size=VOCAB_SIZE)
    model.objective.begin(["deu", "swa"])
    model.to(device).eval()  # no dropout
    moved = batch(utterance_level=model.objective.utterance_level).to(device)
    trained = [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=1e-3)  # Adam divides by the gradient's own size: last bits would steer it
    found = []
    for _ in range(steps):
        loss = model(moved).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        found.append(float(loss.detach()))
    return found


def furthest(given: list[float], others: list[float]) -> float:
    """The largest difference of two losses of a step, relative to the first; infinite if one is not a number, which `max` would
    pass over."""
    found = [abs(one - other) / abs(one) for one, other in zip(given, others, strict=True)]
    return max(found) if all(map(math.isfinite, found)) else math.inf


def main() -> int:
    """Compare and print; 1 if a loss differs by more than is allowed."""
    import torch

    parser = command_line(__doc__, device="cuda")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="2 steps of three models")
    options = parser.parse_args()
    device = set_up(options)
    chosen = ["conformer", "ctc_attention", "lora"] if options.quick else [*MODELS]
    steps = 2 if options.quick else options.steps
    print(f"{steps} steps in fp32, cpu beside {machine(device)}\n")
    table, figures = Table("model", "first loss", "last loss", "largest difference, relative"), {}
    for name in chosen:
        sides = [losses(MODELS[name], one, steps=steps) for one in (torch.device("cpu"), device)]
        difference = furthest(*sides)
        table.row(name, f"{sides[0][0]:.4f}", f"{sides[0][-1]:.4f}", f"{difference:.1e}")
        figures[name] = {"losses": sides, "difference": difference}
        save(options, figures, unfinished=True)
    save(options, figures)
    return int(any(one["difference"] > MOST for one in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
