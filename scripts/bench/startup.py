"""How long the command line takes to answer: help, names that do not exist, wrong arguments of a part.

    python scripts/bench/startup.py [--times 5] [--quick]

Each command runs in a process of its own, all of them in turn, `--times` times; the first round, which fills the caches of
the file system and of compiled modules, is thrown away. Medians of wall and processor seconds. Goals: help and unknown names
under 1 s, without torch (`tests/test_startup.py` sees to that); wrong arguments under 10 s.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIGHT, PART = 1.0, 10.0  # seconds
COMMANDS = (
    (LIGHT, "run --help"),
    (LIGHT, "run upstream=hubrt_base"),
    (LIGHT, "run trainer.optimizer.lrr=1"),
    (LIGHT, "evaluate RUN data=kaldy"),
    (LIGHT, "data describe data=kaldy"),
    (LIGHT, "folders -m upstream=fbank,hubrt_base"),
    (LIGHT, "import_espnet --help"),
    (LIGHT, "report --help"),
    (PART, "run head.num_heads=7"),
    (PART, "run upstream=hubert_base adaptation=partial adaptation.layers=9-3"),
    (PART, "run trainer.max_epochs=many"),
    (PART, "run data=kaldi data.root=no/such/folder"),
)


def answer(command: str, folder: str) -> tuple[float, float]:
    """Wall and processor seconds of a command, which may fail."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    module, *arguments = command.split()
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", f"mlsuperb.{module}", *arguments],
        capture_output=True, check=False, cwd=folder, env=environment,
    )  # fmt: skip
    wall_s, after = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=5, help="rounds that count (default 5)")
    parser.add_argument("--quick", action="store_true", help="one round")
    options = parser.parse_args()
    times = 1 if options.quick else options.times
    measured: dict[str, list[tuple[float, float]]] = {command: [] for _, command in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times + 1):
            for command in measured:
                measured[command].append(answer(command, folder))
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, median of {times}\n")
    print("| `python -m mlsuperb.` | wall, s | processor, s | goal, s |\n|---|---:|---:|---:|")
    met = True
    for goal, command in COMMANDS:
        wall_s, processor_s = (statistics.median(column) for column in zip(*measured[command][1:], strict=True))
        met = met and wall_s < goal
        print(f"| `{command}` | {wall_s:.2f} | {processor_s:.2f} | {goal:g} |")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
