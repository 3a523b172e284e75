"""Time one update of HuBERT pre-training beside torchaudio's `hubert_pretrain_base` with its own loss: forward, backward,
clipping, Adam; the same shape, precision, masks' law and number of units.

    python scripts/bench/pretraining.py --threads 2
    python scripts/bench/pretraining.py --device cuda --batch 11 --seconds 15.6 --precision bf16   # not measured so far
    python scripts/bench/pretraining.py --loss-only                                                # memory of the loss alone

torchaudio's side is its recipe's step (`examples/hubert`, `examples/self_supervised_learning`): the positive against all
negatives for masked and for unmasked frames, cross-entropy of masked ones, ten times the feature penalty, AdamW, clipping.
Ours has dropout and layer drop as there. Waves are noise of equal length, so that neither side pads. Peak memory is that of
the whole process less what was there before the first update.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench import harness
from scripts.bench.harness import Figures, Table

SIDES = ("ours", "torchaudio")
LOSSES = ("cross-entropy of cosines", "positive and negatives")


def batch_of(settings: argparse.Namespace, upstream: Any, device: Any) -> Any:
    """Noise, random units and masks, as the training has them."""
    import numpy as np
    import torch

    from mlsuperb.pretraining.dataset import MaskedBatch
    from mlsuperb.pretraining.masking import SpanMasking

    length = round(settings.seconds * 16000)
    lengths_B = torch.full((settings.batch,), length)
    frames_B = upstream.num_frames(lengths_B)
    mask_BF = torch.from_numpy(SpanMasking().draw(frames_B.tolist(), rng=np.random.default_rng(0)))
    units_BF = torch.randint(0, settings.units, mask_BF.shape, generator=torch.Generator().manual_seed(0))
    return MaskedBatch(
        ids=("",) * settings.batch, languages=("",) * settings.batch,
        wave_BT=0.1 * torch.randn(settings.batch, length, generator=torch.Generator().manual_seed(0)), lengths_B=lengths_B,
        targets_BS=units_BF, target_lengths_B=frames_B, units_BF=units_BF, mask_BF=mask_BF,
        masked_N=mask_BF.flatten().nonzero()[:, 0], unmasked_N=(~mask_BF).flatten().nonzero()[:, 0],
    ).to(device)  # fmt: skip


def ours(settings: argparse.Namespace, device: Any) -> tuple[Any, Callable[[], Any]]:
    """Our model, and its loss of the batch."""
    from mlsuperb.pretraining.model import MaskedPrediction, MaskedPredictionModel
    from mlsuperb.upstreams.new_hubert import NewHubert

    upstream, prediction = NewHubert(num_blocks=settings.blocks, normalise=False), MaskedPrediction(num_special=0)
    head = prediction.head(size=upstream.layer_size, num_units=settings.units)
    model = MaskedPredictionModel(upstream, head=head, settings=prediction).to(device).train()
    batch = batch_of(settings, upstream, device)
    return model, lambda: model(batch).loss


def torchaudio(settings: argparse.Namespace, device: Any) -> tuple[Any, Callable[[], Any]]:
    """torchaudio's model, and the loss of its recipe."""
    import torch
    from torchaudio.models import hubert_pretrain_base

    from mlsuperb.upstreams.new_hubert import NewHubert

    batch = batch_of(settings, NewHubert(num_blocks=1), device)
    model = hubert_pretrain_base(num_classes=settings.units)
    layers = model.wav2vec2.encoder.transformer.layers
    model.wav2vec2.encoder.transformer.layers = layers[: settings.blocks]
    model = model.to(device).train()

    def loss() -> Any:
        logits_m, _, penalty = model(batch.wave_BT, batch.units_BF)
        targets = torch.zeros(len(logits_m), dtype=torch.long, device=device)
        return torch.nn.functional.cross_entropy(logits_m.float(), targets) + 10 * penalty

    return model, loss


def measure(settings: argparse.Namespace) -> Figures:
    """Median seconds of an update of one side, and its memory."""
    import torch

    device = harness.set_up(settings, as_it_comes=settings.side != "ours")
    torch.manual_seed(0)
    model, loss = {"ours": ours, "torchaudio": torchaudio}[settings.side](settings, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.98), eps=1e-6, fused=True)
    before = harness.peak_gb(device)

    def update() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16"):
            found = loss()
        found.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    taken = [harness.seconds(update, device=device) for _ in range(settings.warm_up + settings.steps)]
    return {
        "seconds": harness.median(taken[settings.warm_up :]),
        "memory_gb": harness.peak_gb(device) - before,
        "machine": harness.machine(device),
    }


def measure_loss(settings: argparse.Namespace) -> Figures:
    """Seconds and memory of the loss of masked frames alone, forward and backward."""
    import torch
    from torchaudio.models.wav2vec2.components import _compute_logits

    from mlsuperb.pretraining.head import PredictionHead

    device = harness.set_up(settings)
    torch.manual_seed(0)
    head = PredictionHead(size=768, num_units=settings.units, num_special=0).to(device)
    num = round(settings.batch * settings.seconds * 50 * 0.55)
    hidden_ND = torch.randn(num, 768, device=device)
    units_N = torch.randint(0, settings.units, (num,), device=device)
    before = harness.peak_gb(device)

    def published() -> Any:
        logits = _compute_logits(head.final_proj(hidden_ND), units_N, head.label_embeddings)
        return torch.nn.functional.cross_entropy(logits, torch.zeros(num, dtype=torch.long, device=device))

    loss = {LOSSES[0]: lambda: head.losses(hidden_ND, units_N)[0].mean(), LOSSES[1]: published}[settings.side]
    taken = [harness.seconds(lambda: loss().backward(), device=device) for _ in range(2)]
    return {"seconds": taken[-1], "memory_gb": harness.peak_gb(device) - before, "machine": harness.machine(device)}


def main() -> int:
    """Measure and print."""
    parser = harness.command_line(__doc__, rounds=3, device="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each utterance (default: 8)")
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=12, help="Transformer blocks (default: 12, HuBERT base)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--steps", type=int, default=2, help="timed, in each round (default: 2)")
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--loss-only", action="store_true", help="the loss of masked frames alone")
    options = parser.parse_args()
    side, names = (measure_loss, LOSSES) if options.loss_only else (measure, SIDES)
    sides = {name: (side, argparse.Namespace(**vars(options), side=name)) for name in names}
    found = harness.in_turns(
        sides, rounds=options.rounds, so_far=lambda some: harness.save(options, some, unfinished=True)
    )
    audio_s, first = options.batch * options.seconds, found[names[0]]
    shape = (
        f"{options.batch} x {options.seconds:g} s, K = {options.units}, {options.blocks} blocks, {options.precision}"
    )
    print(f"{shape}; {first['machine']}\n")
    columns = ("s / update", "processor s", "audio s / s", "ratio of processor s", "memory, GB", "of ours")
    table = Table("side", *columns)
    for name, row in found.items():
        wall_s, processor_s = row["seconds"]
        ratio, memory = processor_s / first["seconds"][1], row["memory_gb"] / first["memory_gb"]
        speeds = (f"{wall_s:.3f}", f"{processor_s:.3f}", f"{audio_s / wall_s:.2f}", f"{ratio:.2f} x")
        table.row(name, *speeds, f"{row['memory_gb']:.2f}", f"{memory:.2f} x")
    harness.save(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
