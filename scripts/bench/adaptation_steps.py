"""Step time, peak memory and trained parameters of every adaptation on a model of real size with random weights.

    python scripts/bench/adaptation_steps.py                                              # HuBERT-base, fp32
    python scripts/bench/adaptation_steps.py --model xls_r_300m --model mms_1b --precision bf16 --batch 8   # on a GPU
    python scripts/bench/adaptation_steps.py --only frozen --only qlora --markdown docs/adaptation_steps.md

The model is built from the published configuration (`scripts/real_models.py`) under the head of `+exp=v2/frozen` and a CTC
layer of 6,000 tokens. Each adaptation runs in a process of its own: one batch of noise, two steps to warm up, then the median
of the timed ones, SpecAugment and Adam included, loading of audio not. Peak memory: on a GPU torch's, on a CPU the whole process
with its libraries; what it was once the model was built is printed beside it. OMP_NUM_THREADS sets the threads of a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# Nothing heavy here: Linux hands the peak memory of a process on to the programs that it starts.

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
VOCAB_SIZE, RATE_HZ, WARM_UP = 6_000, 16_000, 2
ADAPTATIONS = (
    "frozen", "full", "partial_bottom", "partial_middle", "partial_top", "houlsby", "pfeiffer", "espnet_houlsby", "lora_v2",
    "qlora",
)  # fmt: skip


def measure(model_name: str, adaptation: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The figures of one adaptation, in this process."""
    import real_models
    import torch

    from mlsuperb.benchmark import build
    from mlsuperb.config.compose import compose
    from mlsuperb.runtime.device import autocast, choose_device, describe_device, prepare_process
    from mlsuperb.runtime.speed import peak_memory_gb
    from mlsuperb.training.parameters import count_trained
    from mlsuperb.types import Batch

    device = prepare_process(choose_device(settings["device"]))
    torch.manual_seed(0)
    config = compose(["+exp=v2/frozen", "data.root=.", f"adaptation={adaptation}"])
    upstream = real_models.make_upstream(model_name)
    model = build.assemble(config, upstream, vocab_size=VOCAB_SIZE).to(device).train()
    base_gb = peak_memory_gb(device)
    num_samples = round(settings["seconds"] * RATE_HZ)
    lengths_B = torch.full((settings["batch"],), num_samples)
    batch = Batch(
        ids=("noise",) * settings["batch"],
        languages=("eng",) * settings["batch"],
        wave_BT=0.1 * torch.randn(settings["batch"], num_samples),
        lengths_B=lengths_B,
        targets_BS=torch.randint(2, VOCAB_SIZE - 1, (settings["batch"], 40)),
        target_lengths_B=torch.full((settings["batch"],), 40),
    ).to(device)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    steps_s = []
    for _ in range(WARM_UP + settings["steps"]):
        start = time.perf_counter()
        with autocast(device, settings["precision"]):
            loss = model(batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        steps_s.append(time.perf_counter() - start)
    return {
        "trained_m": sum(count_trained(model).values()) / 1e6,
        "step_s": statistics.median(steps_s[WARM_UP:]),
        "peak_gb": peak_memory_gb(device),
        "base_gb": base_gb,
        "device": describe_device(device),
        "torch": torch.__version__,
    }


def main(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 if something failed."""
    settings = {name: getattr(arguments, name) for name in ("batch", "seconds", "steps", "precision", "device")}
    lines = [
        "| model | adaptation | trained, M | s / step | peak, GB | model alone, GB | frozen = 1 |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    print("\n".join(lines), flush=True)
    failed, described = 0, ""
    for model in arguments.model or ["hubert_base"]:
        frozen_s = None
        for adaptation in arguments.only or ADAPTATIONS:
            command = [sys.executable, __file__, "--measure", model, adaptation, json.dumps(settings)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
            if done.returncode:
                failed += 1
                line = f"| {model} | {adaptation} | failed: {' '.join(done.stderr[-300:].split())} | | | | |"
            else:
                found = json.loads(done.stdout.splitlines()[-1])
                frozen_s = found["step_s"] if adaptation == "frozen" else frozen_s
                ratio = f"{found['step_s'] / frozen_s:.2f} x" if frozen_s else ""
                described = f"{found['device']}, torch {found['torch']}"
                line = (
                    f"| {model} | {adaptation} | {found['trained_m']:.2f} | {found['step_s']:.2f} | {found['peak_gb']:.2f} | "
                    f"{found['base_gb']:.2f} | {ratio} |"
                )
            lines.append(line)
            print(line, flush=True)
    about = f"{arguments.batch} x {arguments.seconds:g} s of audio, {arguments.precision}, {described}"
    print(about)
    if arguments.markdown:
        arguments.markdown.write_text("\n".join([about, "", *lines]) + "\n", encoding="utf-8")
    return int(failed > 0)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="repeatable: hubert_base (default), xls_r_300m, mms_1b")
    parser.add_argument("--only", action="append", help="repeatable: these adaptations (default: all)")
    parser.add_argument("--batch", type=int, default=4, help="utterances (default: 4)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each utterance (default: 6)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps (default: 5)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: auto)")
    parser.add_argument("--markdown", type=Path, help="write the table to a file")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))))
    else:
        sys.exit(main(parse()))
