"""Whole runs on a GPU, each from start to score: what they take and what comes out.

    python scripts/gpu/runs.py demo [--device cuda] [--out DIR] [--quick]
    python scripts/gpu/runs.py real_speech --speech DIR

    demo          the two runs of `make demo`, within the bounds of scripts/check_demo.py
    real_speech   log-mels on real speech (`--speech`, in the layout of ML-SUPERB)
    cache         a frozen upstream computed in every step, and its features kept in the GPU's memory: the same first losses
    qlora         weights in 4 bits under a LoRA
    fsdp          a training in shards on two GPUs (or two processes on a CPU): the first losses of the plain one. With one GPU
                  nothing is run: one process has nothing to share out
    resume        killed in a step and before the hypotheses are written; each resumed to its end

Exits with 1 if a run fails, or if what comes out is not what it should be. `--json FILE` is written after each run.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import ROOT, Table, command_line, environment, save

SHORT = ["trainer.iterations_per_epoch=60", "trainer.max_epochs=2"]
# Equal losses are asked for in the first epoch alone, while the learning rate rises: a GPU adds up a CTC loss in no fixed order,
# and Adam makes more of rounding with every update, most where the upstream is trained, too (between one rank and two on a CPU:
# 1e-4 after 12 updates). Kept features are read in it: a pass has four batches.
EARLY = ["data.minutes=0.5", "data.test_minutes=0.5", "trainer.max_epochs=10"]
LENGTH: dict[str, list[str]] = {
    "demo": [],
    "real_speech": [],
    "cache": [*EARLY, "trainer.iterations_per_epoch=12"],
    "fsdp": [*EARLY, "trainer.iterations_per_epoch=4"],
}
FROZEN = ["+exp=demo", "upstream=mhubert_tiny"]
# ranks draw their own
UNDROPPED = ["head.dropout=0", "head.position_dropout=0", "head.attention_dropout=0", "specaug=none"]
FULL = [*FROZEN, "adaptation=full", *UNDROPPED]
PARTS: dict[str, dict[str, list[str]]] = {
    "demo": {name: ["+exp=demo", f"upstream={name}"] for name in ("fbank", "mhubert_tiny")},
    "real_speech": {"log-mels": ["+exp=real_speech"]},
    "cache": {"every step": [*FROZEN, "cache=off"], "in memory": [*FROZEN, "cache=fp32", "cache.max_gb=0"]},
    "qlora": {name: ["+exp=demo", "upstream=mhubert_tiny", f"adaptation={name}"] for name in ("lora", "qlora")},
    "fsdp": {"plain": FULL, "two ranks, in shards": [*FULL, "trainer.parallel=fsdp"]},
    "resume": {},
}
SAME = {"cache": 1e-4, "fsdp": 1e-4}  # losses of the first epoch, relative
MOMENTS = ("step", "decoding")  # of tests/killed_runs.py: those in which a GPU differs most from a CPU
TOY = ["data.languages=[deu,swa]", "data.minutes=0.3", "data.test_minutes=0.1", "trainer=debug"]


def run(name: str, overrides: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """The result of a run."""
    length = TOY if options.quick else LENGTH.get(options.part, SHORT)
    words = ["-m", "mlsuperb.run", *overrides, *length, f"trainer.device={options.device}"]
    words += [f"run_id={name}", f"output_root={options.out}", f"manifests={options.out}/manifests"]
    words += [f"data.root={options.speech}" if options.part == "real_speech" else f"data.root={options.out}/synthetic"]
    launcher = []
    if "trainer.parallel=fsdp" in overrides:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks(options.device)}"]
    done = subprocess.run([sys.executable, *launcher, *words], check=False, env=environment())
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}")
    found: dict[str, Any] = json.loads((options.out / name / "result.json").read_text(encoding="utf-8"))
    return found


def num_ranks(device: str) -> int:
    """Processes of a training in shards: two on a CPU, else as many as there are GPUs, two at most."""
    import torch

    return 2 if device == "cpu" else min(2, torch.cuda.device_count())


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of a run."""
    metrics, cost = result["protocols"]["v1"]["metrics"]["test"], result["cost"]
    history = result["training"]["history"]
    return {
        "cer": metrics["all_cer"]["value"],
        "lid_accuracy": metrics["all_lid_accuracy"]["value"],
        "train_s": cost["train_wall_s"],
        "decode_s": cost["decode_wall_s"],
        "peak_gb": cost["peak_memory_gb"],
        "losses": [epoch["train_loss"] for epoch in history],
        "first_losses": [history[0]["train_loss"], history[0]["valid_loss"]],
    }


def run_all(runs: dict[str, list[str]], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The figures of each run, a row of the table as soon as it is there."""
    table = Table("run", "CER %", "LID %", "training, s", "decoding, s", "peak, GB", "last loss")
    found: dict[str, dict[str, Any]] = {}
    for number, (name, overrides) in enumerate(runs.items()):
        found[name] = one = figures(run(f"{options.part}-{number}", overrides, options))
        cells = [one[key] for key in ("cer", "lid_accuracy", "train_s", "decode_s", "peak_gb")]
        table.row(name, *("" if cell is None else f"{cell:.1f}" for cell in cells), f"{one['losses'][-1]:.4f}")
        save(options, found, unfinished=True)
    return found


def resume(options: argparse.Namespace) -> int:
    """Kill and resume. A GPU adds up a CTC loss in no fixed order: there the same weights to the bit are not asked for."""
    sys.path.insert(0, str(ROOT / "tests"))
    import killed_runs

    toy = [*TOY, "upstream=tiny"] if options.quick else ["upstream=mhubert_tiny", *SHORT]
    given = ["+exp=demo", *toy, f"data.root={options.out}/synthetic", f"trainer.device={options.device}"]
    table = Table("killed in a", "exit", "resumed from iteration", "same bytes", text=1)

    def tell(moment: str, *cells: object) -> None:
        table.row(moment, *cells)
        save(options, {}, unfinished=True)

    moments, exact = MOMENTS[:1] if options.quick else MOMENTS, options.device == "cpu"
    status = killed_runs.main(options.out, given, exact=exact, moments=moments, tell=tell)
    save(options, {"status": status})
    return status


def main() -> int:
    """Run and print."""
    parser = command_line(__doc__, device="cuda")
    parser.add_argument("part", choices=tuple(PARTS))
    parser.add_argument("--speech", type=Path, help="real speech in the layout of ML-SUPERB")
    parser.add_argument("--out", type=Path, help="where the runs go (default: a folder that is removed)")
    parser.add_argument("--quick", action="store_true", help="a few iterations on a minute of the built-in corpus")
    options = parser.parse_args()
    if options.part == "real_speech" and not options.speech:
        parser.error("the part real_speech needs --speech DIR")
    with tempfile.TemporaryDirectory() as scratch:
        options.out = (options.out or Path(scratch)).resolve()
        if options.part == "resume":
            return resume(options)
        if options.part == "fsdp" and num_ranks(options.device) < 2:
            print("fsdp: not tried, torch sees one GPU and nothing is shared out on one")
            return 0
        runs = PARTS[options.part]
        if options.quick and options.part not in SAME:
            runs = dict(list(runs.items())[-1:])
        found = run_all(runs, options)
        save(options, found)
        return int(not as_expected(found, options))


def as_expected(found: dict[str, dict[str, Any]], options: argparse.Namespace) -> bool:
    """Losses are numbers; the first ones of two ways to the same end are equal; the demo's scores are within its bounds."""
    losses = [one["losses"] for one in found.values()]
    good = all(math.isfinite(loss) for one in losses for loss in one)
    if bound := SAME.get(options.part):
        first = [one["first_losses"] for one in found.values()]
        difference = max(abs(a - b) / abs(a) for a, b in zip(*first, strict=True))
        print(f"\nlosses of the first epoch differ by {difference:.1e} at most; {bound:g} is allowed")
        good = good and difference <= bound
    if options.part == "demo" and not options.quick:
        from scripts import check_demo

        check_demo.main(options.out)
    return good


if __name__ == "__main__":
    sys.exit(main())
