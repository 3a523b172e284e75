"""What the fast choices cost in accuracy: the same small training on real speech, with and without each, over several seeds.

    python scripts/bench/accuracy.py --root DIR --checkpoint DIR [--languages deu,eng,fra,spa] [--iterations 600] [--seeds 3]

`--root` is a tree in the ML-SUPERB layout, `--checkpoint` a Hugging Face folder whose frozen features are used. Plain runs are
fp32, without a cache, in the sorted batches of the ML-SUPERB recipe; each variant changes one thing. Prints CER by variant:
mean and range over the seeds, and whether the mean is no farther from that of the plain runs than these are from each other.
Runs that have ended are not run again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

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
    """The result of a run, with the history of its training."""
    from mlsuperb.config.compose import compose

    config = compose(overrides)
    folder = Path(config["output_root"]) / config["run_id"]
    subprocess.run([sys.executable, "-m", "mlsuperb.run", *overrides], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def cer(result: dict[str, Any]) -> float:
    """Over all test utterances, by protocol v1."""
    counts = result["protocols"]["v1"]["counts"]
    cells = [cell for datasets in counts.values() for languages in datasets.values() for cell in languages.values()]
    errors = sum(cell[name] for cell in cells for name in ("substitutions", "insertions", "deletions"))
    return 100 * errors / sum(cell["reference_length"] for cell in cells)


def main(arguments: argparse.Namespace) -> int:
    """Run and print; 1 if a variant is worse than the seeds' spread, or an fp32 cache is not identical."""
    common = [
        "+exp=real_speech", f"data.root={arguments.root}", f"data.languages=[{arguments.languages}]", "head.frontend=conv1d2",
        "upstream=hf", f"upstream.checkpoint={arguments.checkpoint}", "loading=ml_superb", "trainer.max_epochs=2",
        f"trainer.iterations_per_epoch={arguments.iterations // 2}", "trainer.trackers=[]", "decoding=greedy",
        f"output_root={arguments.out}",
    ]  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {}
    for variant, changes in VARIANTS.items():
        for seed in range(arguments.seeds):
            found.setdefault(variant, []).append(run([*common, *changes, f"seed={seed}"]))
    plain = [cer(one) for one in found[PLAIN]]
    identical = all(
        a["training"]["history"] == b["training"]["history"] and a["hypotheses"]["sha256"] == b["hypotheses"]["sha256"]
        for a, b in zip(found[PLAIN], found["cache=fp32"], strict=True)
    )
    print(f"| variant | CER %, mean of {arguments.seeds} seeds | range | within the spread of plain fp32 |")
    print("|---|---:|---:|---|")
    failed = not identical
    for variant, results in found.items():
        rates = [cer(one) for one in results]
        mean = statistics.mean(rates)
        within = mean - statistics.mean(plain) <= max(plain) - min(plain)
        failed |= not within
        print(f"| {variant} | {mean:.2f} | {min(rates):.2f} to {max(rates):.2f} | {'yes' if within else 'NO'} |")
    print(f"\nan fp32 cache gives the identical run (losses, figures, hypotheses): {'yes' if identical else 'NO'}")
    return int(failed)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="tree of real speech in the ML-SUPERB layout")
    parser.add_argument("--checkpoint", required=True, help="Hugging Face folder of the frozen upstream")
    parser.add_argument("--languages", default="deu,eng,fra,spa")
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default="exp/accuracy", help="where the runs go (default: exp/accuracy)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(parse()))
