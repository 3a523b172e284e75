"""What the fast choices cost in accuracy: the same small training on real speech, with and without each, over several seeds.

    python scripts/bench/accuracy.py --root DIR --checkpoint DIR [--languages deu,eng,fra,spa] [--iterations 600] [--seeds 3]

`--root` is a tree in the ML-SUPERB layout, `--checkpoint` a Hugging Face folder whose frozen features are used. Plain runs are
fp32, without a cache, in the sorted batches of the ML-SUPERB recipe; each variant changes one thing. Prints CER by variant:
mean and range over the seeds, and whether the mean is no farther from that of the plain runs than these are from each other.
Runs that have ended are not run again.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Table, command_line, environment, save

PLAIN = "plain fp32"
VARIANTS = {
    PLAIN: ["cache=off"],
    "cache=fp32": ["cache=fp32"],
    "cache=bf16": ["cache=bf16"],
    "cache=int8": ["cache=int8"],
    "cache=bf16 trainer.precision=bf16": ["cache=bf16", "trainer.precision=bf16"],
    "loading=bucketed": ["cache=fp32", "loading=bucketed", "loading.train.max_batch_s=48"],
}


def run(overrides: list[str]) -> dict[str, Any]:
    """The result of a run."""
    from mlsuperb.config.compose import compose

    config = compose(overrides)
    words = [sys.executable, "-m", "mlsuperb.run", *overrides]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=environment())
    path = Path(config["output_root"]) / config["run_id"] / "result.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def cer(result: dict[str, Any]) -> float:
    """Percent, over all test utterances, by protocol v1."""
    return float(result["protocols"]["v1"]["metrics"]["test"]["all_cer"]["value"])


def identical(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether losses, figures and hypotheses of two runs are the same."""
    keys = (("training", "history"), ("hypotheses", "sha256"))
    return all(first[group][key] == second[group][key] for group, key in keys)


def main() -> int:
    """Run and print; 1 if a variant is worse than the seeds' spread, or an fp32 cache is not identical."""
    parser = command_line(__doc__)
    parser.add_argument("--root", required=True, help="tree of real speech in the ML-SUPERB layout")
    parser.add_argument("--checkpoint", required=True, help="Hugging Face folder of the frozen upstream")
    parser.add_argument("--languages", default="deu,eng,fra,spa")
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default="exp/accuracy", help="where the runs go (default: exp/accuracy)")
    options = parser.parse_args()
    common = [
        "+exp=real_speech", f"data.root={options.root}", f"data.languages=[{options.languages}]", "head.frontend=conv1d2",
        "upstream=hf", f"upstream.checkpoint={options.checkpoint}", "loading=ml_superb", "trainer.max_epochs=2",
        f"trainer.iterations_per_epoch={options.iterations // 2}", "trainer.trackers=[]", "decoding=greedy",
        f"output_root={options.out}",
    ]  # fmt: skip
    found = {
        variant: [run([*common, *changes, f"seed={seed}"]) for seed in range(options.seeds)]
        for variant, changes in VARIANTS.items()
    }
    same = all(identical(*pair) for pair in zip(found[PLAIN], found["cache=fp32"], strict=True))
    rates = {variant: [cer(one) for one in results] for variant, results in found.items()}
    plain, failed = rates[PLAIN], not same
    table = Table("variant", f"CER %, mean of {options.seeds} seeds", "range", "within the spread of plain fp32")
    for variant, of in rates.items():
        within = statistics.mean(of) - statistics.mean(plain) <= max(plain) - min(plain)
        failed |= not within
        spread = f"{min(of):.2f} to {max(of):.2f}"
        table.row(variant, f"{statistics.mean(of):.2f}", spread, "yes" if within else "NO")
    print(f"\nan fp32 cache gives the identical run (losses, figures, hypotheses): {'yes' if same else 'NO'}")
    save(options, rates)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
