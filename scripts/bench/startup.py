"""How long the command line takes to answer: help, names that do not exist, wrong arguments of a part.

    python scripts/bench/startup.py [--rounds 5] [--quick]

Each command runs in a process of its own, all of them in turn, `--rounds` times; the round before, which fills the caches of
the file system and of compiled modules, is not counted. Medians of wall and processor seconds. Goals: help and unknown names
under 1 s, without torch (`tests/commands/test_startup.py` checks that); wrong arguments under 10 s.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Table, command_line, environment, median, save

LIGHT, PART = 1.0, 10.0  # seconds
COMMANDS = {
    "--help": LIGHT,
    "run --help": LIGHT,
    "run upstream=hubrt_base": LIGHT,
    "run trainer.optimizer.lrr=1": LIGHT,
    "evaluate RUN data=kaldy": LIGHT,
    "data describe data=kaldy": LIGHT,
    "folders -m upstream=fbank,hubrt_base": LIGHT,
    "import_espnet --help": LIGHT,
    "report --help": LIGHT,
    "run head.num_heads=7": PART,
    "run upstream=hubert_base adaptation=partial adaptation.layers=9-3": PART,
    "run trainer.max_epochs=many": PART,
    "run data=kaldi data.root=no/such/folder": PART,
}


def answer(command: str, folder: str) -> list[float]:
    """Wall and processor seconds of a command, which may fail."""
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [sys.executable, "-m", "mlsuperb", *command.split()]
    subprocess.run(words, capture_output=True, check=False, cwd=folder, env=environment())
    wall_s, after = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    return [wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime]


def main() -> int:
    """Measure and print; 1 if a goal is missed."""
    parser = command_line(__doc__, rounds=5)
    parser.add_argument("--quick", action="store_true", help="one round")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as folder:
        measured = [{command: answer(command, folder) for command in COMMANDS} for _ in range(rounds + 1)][1:]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, median of {rounds}\n")
    table = Table("`mlsuperb`", "wall, s", "processor, s", "goal, s")
    found = {command: median([one[command] for one in measured]) for command in COMMANDS}
    for command, (wall_s, processor_s) in found.items():
        table.row(f"`{command}`", f"{wall_s:.2f}", f"{processor_s:.2f}", f"{COMMANDS[command]:g}")
    save(options, found)
    return int(any(found[command][0] >= goal for command, goal in COMMANDS.items()))


if __name__ == "__main__":
    sys.exit(main())
