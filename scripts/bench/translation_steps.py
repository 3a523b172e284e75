"""Step time, peak memory and trained parameters of every adaptation of SeamlessM4T, at its published sizes with random weights.

    python scripts/bench/translation_steps.py --device cuda --precision bf16 --batch 8 --seconds 10 --json translation_steps.json
    python scripts/bench/translation_steps.py --size medium --only encoder_adapters --only text --batch 1      # on a CPU

Each training runs in a process of its own: one batch of noise (of `text`: of random tokens), two steps to warm up, then the
median of the timed ones, Adam included, loading of audio not. Peak memory: on a GPU torch's, on a CPU the whole process with its
libraries; what it was once the model was built is printed beside it. Weights are in fp32 under autocast, as in a training.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench import harness
from scripts.bench.harness import Figures, Table
from scripts.real_models import SEAMLESS

NUM_TOKENS = 40
TRAININGS = {  # name -> settings of the adaptation; the last one by text, without a speech model in memory
    "encoder_adapters": ("adaptation=encoder_adapters",),
    "encoder_adapters_2048": ("adaptation=encoder_adapters", "adaptation.width=2048"),
    "decoder_adapters": ("adaptation=decoder_adapters",),
    "length_adaptor": ("adaptation=length_adaptor",),
    "lora": ("adaptation=lora",),
    "everything": ("adaptation=everything",),
    "text": ("adaptation=decoder_adapters",),
}


def measure(settings: argparse.Namespace) -> Figures:
    """The figures of one training."""
    import torch

    from mlsuperb.config.build import instantiate
    from mlsuperb.config.compose import compose
    from mlsuperb.translation.model import TranslationModel
    from scripts import real_models
    from scripts.bench import ours

    device = harness.set_up(settings)
    torch.manual_seed(0)
    part = "text" if settings.training == "text" else "speech"
    config = compose(["job=translation", "data.root=.", *TRAININGS[settings.training]])
    translator = real_models.make_seamless(settings.size, parts=(part,))
    instantiate(config["adaptation"]).apply(translator)
    model = TranslationModel(translator, loss=instantiate(config["loss"]), num_prefix=2)
    model.to(device).train()
    base_gb = harness.peak_gb(device)
    batch = _batch(part, settings, vocab_size=translator.vocab_size).to(device)
    return {"base_gb": base_gb} | ours.step_figures(model, batch, settings, device)


def _batch(part: str, settings: argparse.Namespace, *, vocab_size: int) -> Any:
    """Noise, or source text, with random targets."""
    import torch

    from mlsuperb.data.text_dataset import TextBatch
    from scripts.bench import ours

    targets = torch.randint(4, vocab_size - 1, (settings.batch, NUM_TOKENS))
    if part == "speech":
        return ours.batch_of(0.1 * torch.randn(settings.batch, round(settings.seconds * ours.RATE_HZ)), targets)
    lengths = torch.full((settings.batch,), NUM_TOKENS)
    return TextBatch(
        ids=tuple(map(str, range(settings.batch))), directions=("eng-eng",) * settings.batch, source_BS=targets.flip(0),
        source_lengths_B=lengths, target_BT=targets, target_lengths_B=lengths,
    )  # fmt: skip


def main() -> int:
    """Measure and print; 1 if something failed."""
    parser = harness.command_line(__doc__, device="auto")
    parser.add_argument("--size", action="append", choices=tuple(SEAMLESS), help="repeatable (default: all)")
    parser.add_argument("--only", action="append", choices=tuple(TRAININGS), help="repeatable (default: all)")
    parser.add_argument("--batch", type=int, default=8, help="utterances or sentences (default: 8)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each utterance (default: 10)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps (default: 5)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    table = Table("size", "training", "trained, M", "s / step", "peak, GB", "model alone, GB", text=2)
    found: dict[str, Figures] = {}
    for size in options.size or SEAMLESS:
        for training in options.only or TRAININGS:
            try:
                row = harness.in_child(measure, options, size=size, training=training)
            except RuntimeError as error:
                table.row(size, training, f"failed: {' '.join(str(error)[-300:].split())}", *[""] * 3)
                found[f"{size} {training}"] = {"error": str(error)}
                continue
            found[f"{size} {training}"] = row
            table.row(size, training, *(f"{row[name]:.2f}" for name in ("trained_m", "step_s", "peak_gb", "base_gb")))
    good = [row["machine"] for row in found.values() if "machine" in row]
    of_text = f"{NUM_TOKENS} target tokens each"
    print(
        f"{options.batch} x {options.seconds:g} s of audio, {of_text}, {options.precision}, {good[0] if good else ''}"
    )
    harness.save(options, found)
    return int(len(good) < len(found))


if __name__ == "__main__":
    sys.exit(main())
