"""What a run takes that shares its cores with another: the demo alone, then twice at once on the same cores, with the way in
which `mlsuperb` has OpenMP's threads wait (`mlsuperb.runtime.threads`) or with OpenMP's own.

    python scripts/bench/two_at_once.py --rounds 5
    python scripts/bench/two_at_once.py --quick               # 40 iterations, once
    python scripts/bench/two_at_once.py --quick --own         # as OpenMP has it; whole demos take most of an hour

Wall seconds of whole programs, from start to score; two at once end when the later one does. The corpus is made before. Goal:
two at once take at most 2.3 times one alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Table, command_line, environment, median, save

MOST = 2.3  # times one alone
OURS = "mlsuperb's"
WAYS = {OURS: {}, "OpenMP's own": {"GOMP_SPINCOUNT": "300000"}}  # libgomp's count where there is a core for each thread


def demos(num: int, words: list[str], folder: Path, *, threads: int, more: dict[str, str]) -> float:
    """Seconds until so many demos have ended, which were started together."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        start_s = time.perf_counter()
        running = [
            subprocess.Popen(
                [*words, f"output_root={out}/{number}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env=environment() | {"OMP_NUM_THREADS": str(threads)} | more,
            )
            for number in range(num)
        ]  # fmt: skip
        for one in running:
            _, said = one.communicate()
            if one.returncode:
                raise RuntimeError(f"{' '.join(words)} ended with {one.returncode}: {said.decode()[-3000:]}")
        return time.perf_counter() - start_s


def main() -> int:
    """Measure and print; 1 if the goal is missed."""
    parser = command_line(__doc__, rounds=3)
    parser.add_argument("--quick", action="store_true", help="40 iterations, one round")
    parser.add_argument("--own", action="store_true", help="OpenMP's own way, too")
    parser.add_argument("overrides", nargs="*", help="further settings of the demo")
    options = parser.parse_args()
    short = ["trainer.iterations_per_epoch=40", "trainer.max_epochs=1"] if options.quick else []
    rounds = 1 if options.quick else options.rounds
    ways = WAYS if options.own else {OURS: WAYS[OURS]}
    found: dict[str, list[list[float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = [f"data.root={folder}/synthetic", f"manifests={folder}/manifests"]
        words = [sys.executable, "-m", "mlsuperb", "run", "+exp=demo", *places, *short, *options.overrides]
        first = ["trainer.iterations_per_epoch=1", "trainer.max_epochs=1"]
        demos(1, [*words, *first], folder, threads=options.threads, more={})  # makes the corpus
        for number in range(rounds):
            for way, more in ways.items():
                found[way].append([demos(num, words, folder, threads=options.threads, more=more) for num in (1, 2)])
                shown = " and ".join(f"{one_s:.1f} s" for one_s in found[way][-1])
                print(f"  {way}: round {number + 1} of {rounds}, {shown}", file=sys.stderr, flush=True)
    medians = {way: median(every) for way, every in found.items()}
    print(f"{os.cpu_count()} cores, {options.threads} threads a program, medians of {rounds}\n")
    table = Table("threads wait in", "one, s", "two at once, s", "ratio")
    for way, (one_s, two_s) in medians.items():
        table.row(f"{way} way", f"{one_s:.1f}", f"{two_s:.1f}", f"{two_s / one_s:.2f} x")
    save(options, medians)
    one_s, two_s = medians[OURS]
    return int(two_s > MOST * one_s)


if __name__ == "__main__":
    sys.exit(main())
