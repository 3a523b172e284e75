"""Step time, peak memory and trained parameters of every adaptation on a model of real size with random weights.

    python scripts/bench/adaptation_steps.py                                              # HuBERT-base, fp32
    python scripts/bench/adaptation_steps.py --model xls_r_300m --model mms_1b --precision bf16 --batch 8   # on a GPU
    python scripts/bench/adaptation_steps.py --only frozen --only qlora --json adaptation_steps.json

The model is built from the published configuration (`scripts/real_models.py`) under the head of `+exp=v2/frozen` and a CTC
layer of 6,000 tokens. Each adaptation runs in a process of its own: one batch of noise, two steps to warm up, then the median
of the timed ones, SpecAugment and Adam included, loading of audio not. Peak memory: on a GPU torch's, on a CPU the whole process
with its libraries; what it was once the model was built is printed beside it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench import harness
from scripts.bench.harness import Figures, Table

VOCAB_SIZE, NUM_TOKENS = 6_000, 40
ADAPTATIONS = (
    "frozen", "full", "partial_bottom", "partial_middle", "partial_top", "houlsby", "pfeiffer", "espnet_houlsby", "lora_v2",
    "qlora", "bitfit",
)  # fmt: skip


def measure(settings: argparse.Namespace) -> Figures:
    """The figures of one adaptation."""
    import torch

    from scripts import real_models
    from scripts.bench import ours

    device = harness.set_up(settings)
    torch.manual_seed(0)
    upstream = real_models.make_upstream(settings.model)
    choice = f"adaptation={settings.adaptation}"
    model, _ = ours.model_around(upstream, "+exp=v2/frozen", choice, vocab_size=VOCAB_SIZE)
    model.to(device).train()
    base_gb = harness.peak_gb(device)
    waves = 0.1 * torch.randn(settings.batch, round(settings.seconds * ours.RATE_HZ))
    targets = torch.randint(2, VOCAB_SIZE - 1, (settings.batch, NUM_TOKENS))
    batch = ours.batch_of(waves, targets).to(device)
    return {"base_gb": base_gb} | ours.step_figures(model, batch, settings, device)


def main() -> int:
    """Measure and print; 1 if something failed."""
    parser = harness.command_line(__doc__, device="auto")
    parser.add_argument("--model", action="append", help="repeatable: hubert_base (default), xls_r_300m, mms_1b")
    parser.add_argument("--only", action="append", help="repeatable: these adaptations (default: all)")
    parser.add_argument("--batch", type=int, default=4, help="utterances (default: 4)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each utterance (default: 6)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps (default: 5)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    table = Table("model", "adaptation", "trained, M", "s / step", "peak, GB", "model alone, GB", "frozen = 1", text=2)
    found: dict[str, Figures] = {}
    for model in options.model or ["hubert_base"]:
        for adaptation in options.only or ADAPTATIONS:
            try:
                found[f"{model} {adaptation}"] = row = harness.in_child(
                    measure, options, model=model, adaptation=adaptation
                )
            except RuntimeError as error:
                table.row(model, adaptation, f"failed: {' '.join(str(error)[-300:].split())}", *[""] * 4)
                found[f"{model} {adaptation}"] = {"error": str(error)}
                harness.save(options, found, unfinished=True)
                continue
            figures = [f"{row[name]:.2f}" for name in ("trained_m", "step_s", "peak_gb", "base_gb")]
            frozen = found.get(f"{model} frozen", {}).get("step_s")
            table.row(model, adaptation, *figures, f"{row['step_s'] / frozen:.2f} x" if frozen else "")
            harness.save(options, found, unfinished=True)
    good = [row["machine"] for row in found.values() if "machine" in row]
    print(f"{options.batch} x {options.seconds:g} s of audio, {options.precision}, {good[0] if good else ''}")
    harness.save(options, found)
    return int(len(good) < len(found))


if __name__ == "__main__":
    sys.exit(main())
