"""Fine-tuning: our Trainer beside transformers' Trainer with a CTC head, the same model, the same utterances.

    python scripts/bench/fine_tuning.py --threads 2                              # HuBERT-base, LoRA and full
    python scripts/bench/fine_tuning.py --model xls_r_300m --device cuda --batch 16 --utterances 512
    python scripts/bench/fine_tuning.py --choices                                # each choice of ours, one at a time
    python scripts/bench/fine_tuning.py --quick                                  # cut to two blocks, to see that it runs

Both train a published configuration with random weights and one linear layer with CTC on top (ours reads it off a weighted sum
of all layers), on noise whose lengths are spread like ML-SUPERB's: log-normal, 1 to 20 s, about 6 s in the mean. Timed is one
pass over all utterances, in audio seconds a second; padding does not count as audio. Ours: `trainer=default` in the real loop,
batches bucketed by length of at most `--batch` x 10 padded seconds. Theirs: the defaults of `Trainer`, `--batch` utterances a
batch in random order, which take more memory. LoRA: the settings of `adaptation=lora_v2` on both sides, their convolutions
frozen as in transformers' own example (run_speech_recognition_ctc.py). Full: every parameter on both sides. Layer drop is off on
both sides (ours never drops layers), each side's own SpecAugment and dropout are on.

Every measurement is a process of its own, sides take turns, medians over `--repeats`. Peak memory: on a GPU torch's, on a CPU the
whole process with its libraries. bf16 is autocast on both sides. The figures of a GPU are not measured so far.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

# Nothing heavy here: Linux hands the peak memory of a process on to the programs that it starts.

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "scripts" / "bench")]
from fine_tuning_sides import durations, measure_ours, measure_theirs  # noqa: E402

# name -> what is different from ours as it is measured
CHOICES = {
    "ours": {},
    "fp32": {"precision": "fp32"},
    "eager attention": {"attention": "eager"},
    "random batches": {"batches": "random"},
    "gradient checkpointing": {"checkpointing": True},
    "torch.compile": {"compile": True},
    "AdamW not fused": {"fused": False},
}


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """One measurement, in a process of its own."""
    threads = str(settings["threads"])
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT), "TRANSFORMERS_VERBOSITY": "error"}
    command = [sys.executable, __file__, "--measure", json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{settings}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def medians(cases: dict[str, dict[str, Any]], repeats: int) -> dict[str, dict[str, Any]]:
    """The median of every figure of every case; cases take turns."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    for repeat in range(repeats):
        for name, settings in cases.items():
            found[name].append(run(settings | {"repeat": repeat}))
            figures = [f"{found[name][-1][key]:.2f}" for key in ("rate", "cpu_rate", "peak_gb")]
            shown = "{} audio s/s, {} a processor second, {} GB".format(*figures)
            print(f"  {name}: {shown}", file=sys.stderr, flush=True)
    return {
        name: {
            key: statistics.median(row[key] for row in rows) if rows[0][key] is not None else None for key in rows[0]
        }
        for name, rows in found.items()
    }


def compare(base: dict[str, Any], precisions: list[str], *, peak_tflops: float) -> None:
    """The table of both sides."""
    print("\n| adaptation | precision | | audio s/s | per processor s | padding | peak, GB | against theirs |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for adaptation in ("lora_v2", "full"):
        cases = {}
        for precision in precisions:
            one = base | {"adaptation": adaptation, "precision": precision}
            cases[f"{precision} ours"] = one | {"side": "ours"}
            cases[f"{precision} theirs"] = one | {"side": "theirs", "batches": "random"}
            cases[f"{precision} theirs, grouped by length"] = one | {"side": "theirs", "batches": "grouped"}
        found = medians(cases, base["repeats"])
        for name, row in found.items():
            precision, who = name.split(" ", 1)
            ratio = row["rate"] / found[f"{precision} theirs"]["rate"]
            print(
                f"| {adaptation} | {precision} | {who} | {row['rate']:.2f} | {row['cpu_rate']:.2f} | {row['padding']:.0%} | "
                f"{row['peak_gb']:.2f} | {ratio:.2f} x |"
            )
            if row["flops_per_s"]:
                share = row["flops_per_s"] * row["rate"] / (peak_tflops * 1e12)
                print(f"| | | of {peak_tflops:g} TFLOP/s, padding not counted | {share:.0%} | | | | |")
        first, last = found[f"{precisions[-1]} ours"], found["fp32 theirs"]
        ratio, cpu_ratio = (first[key] / last[key] for key in ("rate", "cpu_rate"))
        print(
            f"| {adaptation} | ours {precisions[-1]}, theirs by default (fp32) | | | {cpu_ratio:.2f} x | | | {ratio:.2f} x |"
        )


def choices(base: dict[str, Any], precision: str) -> None:
    """The table of what each choice of ours does."""
    print("\n| adaptation | ours with | audio s/s | peak, GB | speed | memory |\n|---|---|---:|---:|---:|---:|")
    for adaptation in ("lora_v2", "full"):
        one = base | {"adaptation": adaptation, "precision": precision, "side": "ours"}
        found = medians({name: one | changes for name, changes in CHOICES.items()}, base["repeats"])
        ours = found["ours"]
        for name, row in found.items():
            shares = f"{row['rate'] / ours['rate']:.2f} x | {row['peak_gb'] / ours['peak_gb']:.2f} x"
            label = f"all as above ({precision})" if name == "ours" else name
            print(f"| {adaptation} | {label} | {row['rate']:.2f} | {row['peak_gb']:.2f} | {shares} |")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    import torch

    from mlsuperb.runtime.device import choose_device, describe_device, prepare_process

    device = prepare_process(choose_device(arguments.device))
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if device.type == "cpu" else ""
    has_bf16 = device.type == "cuda" or "avx512_bf16" in flags or "amx_bf16" in flags
    precisions = ["fp32", "bf16"] if has_bf16 else ["fp32"]
    if arguments.quick:
        arguments.utterances, arguments.repeats, arguments.blocks = 6, 1, 1
    names = ("model", "device", "threads", "batch", "utterances", "repeats", "blocks")
    base = {name: getattr(arguments, name) for name in names} | {
        "scale": 0.2 if arguments.quick else 1.0, "attention": "sdpa", "batches": "bucketed", "checkpointing": False,
        "compile": False, "fused": True,
    }  # fmt: skip
    lengths_s = durations(base)
    found = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    where = (
        describe_device(device) if device.type == "cuda" else f"cpu ({arguments.threads} threads, {', '.join(found)})"
    )
    print(f"{arguments.model}, {len(lengths_s)} utterances, {lengths_s.sum():.0f} s of audio, {lengths_s.min():.1f} to "
          f"{lengths_s.max():.1f} s; {where}, torch {torch.__version__}; medians of {arguments.repeats}")  # fmt: skip
    if arguments.choices:
        choices(base, precisions[-1])
    else:
        compare(base, precisions, peak_tflops=arguments.peak_tflops)
    return 0


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="hubert_base", choices=("hubert_base", "xls_r_300m", "mms_1b"))
    parser.add_argument("--batch", type=int, default=4, help="utterances in a batch of theirs (default: 4)")
    parser.add_argument("--utterances", type=int, default=32, help="of the timed pass (default: 32)")
    parser.add_argument("--repeats", type=int, default=3, help="of every measurement (default: 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of a CPU (default: all)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: auto)")
    parser.add_argument("--blocks", type=int, help="cut the model to so many Transformer blocks")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="dense bf16 (default: 989, H100 and H200 SXM)")
    parser.add_argument("--choices", action="store_true", help="the effect of each choice of ours instead")
    parser.add_argument("--quick", action="store_true", help="one block, six short utterances, once")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        asked = json.loads(sys.argv[2])
        print(json.dumps((measure_ours if asked["side"] == "ours" else measure_theirs)(asked)))
    else:
        sys.exit(main(parse()))
