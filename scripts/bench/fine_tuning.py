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

Every measurement is a process of its own, sides take turns, medians over `--rounds`. Peak memory: on a GPU torch's, on a CPU the
whole process with its libraries. bf16 is autocast on both sides, and each has one GPU. Not measured on a GPU so far.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, command_line, in_child, in_turns, machine, save, set_up

ADAPTATIONS = ["lora_v2", "full"]
AS_OURS = {"attention": "sdpa", "batches": "bucketed", "checkpointing": False, "compile": "", "fused": True}
SIDES = {
    "ours": {"side": "ours"},
    "theirs": {"side": "theirs", "batches": "random"},
    "theirs, grouped by length": {"side": "theirs", "batches": "grouped"},
}
FIRST = "all as above"
# name -> what is different from ours as it is measured
CHOICES = {
    FIRST: {},
    "fp32": {"precision": "fp32"},
    "eager attention": {"attention": "eager"},
    "random batches": {"batches": "random"},
    "gradient checkpointing": {"checkpointing": True},
    "torch.compile": {"compile": "anew"},
    "torch.compile, its cache on disk full": {"compile": "from cache"},  # from the second round on
    "AdamW not fused": {"fused": False},
}


def one_side(settings: argparse.Namespace) -> Figures:
    """The figures of one side."""
    if settings.side == "theirs":
        settings.device = show_one_gpu(settings.device)
    from scripts.bench.fine_tuning_sides import measure_ours, measure_theirs

    return (measure_ours if settings.side == "ours" else measure_theirs)(settings)


def show_one_gpu(device: str) -> str:
    """Hide every GPU but that of `device` from this process, before torch is loaded; returns its name from then on. Where it sees
    several, transformers' Trainer trains on all (`nn.DataParallel`), with a batch that is as many times as large."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if device == "cpu" or visible == "":
        return device
    kind, _, index = device.partition(":")
    known = visible.split(",") if visible else None
    os.environ["CUDA_VISIBLE_DEVICES"] = known[int(index or 0)] if known else index or "0"
    return kind


def describe(settings: argparse.Namespace) -> Figures:
    """The utterances, and the machine."""
    from scripts.bench.fine_tuning_sides import durations

    device, lengths_s = set_up(settings), durations(settings)
    shown = f"{len(lengths_s)} utterances, {lengths_s.sum():.0f} s of audio, {lengths_s.min():.1f} to {lengths_s.max():.1f} s"
    where = machine(device)
    has_bf16 = device.type == "cuda" or "_bf16" in where
    return {"shown": f"{shown}; {where}", "precisions": ["fp32", "bf16"] if has_bf16 else ["fp32"]}


def compare(base: dict[str, Any], precisions: list[str], *, keep: Callable[[Figures], object]) -> Figures:
    """The table of both sides. `keep` is given the figures so far, after each measurement."""
    columns = ("audio s/s", "per processor s", "padding", "peak, GB", "against theirs")
    table, figures = Table("adaptation", "precision", "", *columns, text=3), dict[str, Any]()
    for adaptation in base["adaptations"]:
        sides = {}
        for precision in precisions:
            one = base | {"adaptation": adaptation, "precision": precision}
            for who, changes in SIDES.items():
                sides[f"{precision} {who}"] = (one_side, argparse.Namespace(**one | changes))
        before = dict(figures)
        figures[adaptation] = found = in_turns(
            sides, rounds=base["rounds"], so_far=lambda some, of=adaptation, before=before: keep(before | {of: some})
        )
        for name, row in found.items():
            precision, who = name.split(" ", 1)
            rates = [f"{row['rate']:.2f}", f"{row['cpu_rate']:.2f}", f"{row['padding']:.0%}", f"{row['peak_gb']:.2f}"]
            table.row(adaptation, precision, who, *rates, f"{row['rate'] / found[f'{precision} theirs']['rate']:.2f} x")
            if row["flops_per_s"]:
                share = row["flops_per_s"] * row["rate"] / (base["peak_tflops"] * 1e12)
                table.row("", "", f"of {base['peak_tflops']:g} TFLOP/s, padding not counted", f"{share:.0%}", *[""] * 4)
        if "fp32" not in precisions:
            continue
        first, last = found[f"{precisions[-1]} ours"], found["fp32 theirs"]
        ratio, cpu_ratio = (f"{first[key] / last[key]:.2f} x" for key in ("rate", "cpu_rate"))
        table.row(adaptation, f"ours {precisions[-1]}, theirs by default (fp32)", "", "", cpu_ratio, "", "", ratio)
    return figures


def choices(base: dict[str, Any], precision: str, *, rounds: int) -> Figures:
    """The table of what each choice of ours does."""
    table, figures = (
        Table("adaptation", "ours with", "audio s/s", "peak, GB", "speed", "memory", "first steps, s", text=2),
        {},
    )
    for adaptation in base["adaptations"]:
        one = base | {"adaptation": adaptation, "precision": precision, "side": "ours"}
        sides = {name: (one_side, argparse.Namespace(**one | changes)) for name, changes in CHOICES.items()}
        figures[adaptation] = found = in_turns(sides, rounds=rounds)
        for name, row in found.items():
            shares = [f"{row[key] / found[FIRST][key]:.2f} x" for key in ("rate", "peak_gb")]
            label = f"{name} ({precision})" if name == FIRST else name
            table.row(
                adaptation, label, f"{row['rate']:.2f}", f"{row['peak_gb']:.2f}", *shares, f"{row['warm_up_s']:.1f}"
            )
    return figures


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__, rounds=3, device="auto")
    parser.add_argument("--model", default="hubert_base", choices=("hubert_base", "xls_r_300m", "mms_1b"))
    parser.add_argument("--batch", type=int, default=4, help="utterances in a batch of theirs (default: 4)")
    parser.add_argument("--utterances", type=int, default=32, help="of the timed pass (default: 32)")
    parser.add_argument("--adaptations", nargs="+", choices=ADAPTATIONS, default=ADAPTATIONS, help="default: both")
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), help="this one alone (default: all that the device has)"
    )
    parser.add_argument("--blocks", type=int, help="cut the model to so many Transformer blocks")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="dense bf16 (default: 989, H100 and H200 SXM)")
    parser.add_argument("--choices", action="store_true", help="the effect of each choice of ours instead")
    parser.add_argument("--quick", action="store_true", help="one block, six short utterances, once")
    options = parser.parse_args()
    if options.quick:
        options.utterances, options.rounds, options.blocks = 6, 1, 1
    base = vars(options) | {"scale": 0.2 if options.quick else 1.0} | AS_OURS
    about = in_child(describe, argparse.Namespace(**base))
    print(f"{options.model}, {about['shown']}; medians of {options.rounds}\n")
    precisions = [options.precision] if options.precision else about["precisions"]
    if options.choices:
        figures = choices(base, precisions[-1], rounds=options.rounds)
    else:
        figures = compare(base, precisions, keep=lambda found: save(options, found, unfinished=True))
    save(options, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
