"""All attacks, for some minutes, and docs/reliability.md with what came of them: `make attack`.

    python scripts/attack [--minutes 10] [--seed 0] [--lanes 2] [--out docs/reliability.md]

Half of the time are kills, a quarter faults; of damaged inputs there are 100 of each kind a minute. Each attack can be called
alone, too. Exits 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PAGE, TEMPLATE = ROOT / "docs" / "reliability.md", Path(__file__).with_name("reliability.md.jinja")
KILLS, FAULTS = 0.5, 0.25  # of the minutes
PER_MINUTE = 100  # damaged inputs of each kind


def call(name: str, *arguments: object) -> dict[str, Any]:
    """The figures that an attack prints.

    Raises:
        RuntimeError: it printed none.
    """
    command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=_environment())
    try:
        found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError as error:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}") from error
    return found


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def page(found: Mapping[str, Mapping[str, Any]], **about: Any) -> str:
    """docs/reliability.md.

    Args:
        found: figures by attack: kills, faults, manifests, audio.
        about: command, machine, date, seconds, seed.
    """
    kills, faults, manifests, audio = (found[name] for name in ("kills", "faults", "manifests", "audio"))
    named = ("whole", "counted", "refused", "tracebacks", "silent_losses")
    outcomes = {name.replace("_", " "): manifests[name] for name in named if manifests[name]}
    problems = problems_of(found)
    wrong = {name: len(problems[name]) for name in found}
    inputs = {
        "SIGKILL, runs": ("kills", kills["runs"]),
        "faults of the machine, starts": ("faults", faults["starts"]),
        "damaged manifests": ("manifests", manifests["inputs"]),
        "damaged audio": ("audio", audio["inputs"]),
    }
    rows = [
        {"attack": title, "inputs": number, "right": number - wrong[name], "wrong": wrong[name]}
        for title, (name, number) in inputs.items()
    ]
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["counted"] = lambda counts: ", ".join(f"{name} {number:,}" for name, number in counts.items())
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        kills=kills, faults=faults, manifests={**manifests, "outcomes": outcomes}, audio=audio, rows=rows,
        problems=[one for name in problems for one in problems[name]], **about,
    )  # fmt: skip


def problems_of(found: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """What went wrong, by attack: each calls it otherwise."""
    return {
        name: [
            one if isinstance(one, str) else json.dumps(one)
            for key in ("problems", "bad", "failed")
            for one in figures.get(key, ())
        ]
        for name, figures in found.items()
    }


def main() -> int:
    """Attack, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=2, help="runs that are killed at a time (default: 2)")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    began, count = time.monotonic(), round(PER_MINUTE * options.minutes)
    attacks: dict[str, tuple[object, ...]] = {
        "manifests": ("--count", count),
        "audio": ("--count", count),
        "faults": ("--minutes", FAULTS * options.minutes),
        "kills": ("--minutes", KILLS * options.minutes, "--lanes", options.lanes),
    }
    found = {}
    for name, arguments in attacks.items():
        found[name] = call(name, *arguments, "--seed", options.seed)
        print(f"{name}: {len(problems_of(found)[name])} wrong, {time.monotonic() - began:.0f} s", flush=True)
    options.out.write_text(
        page(
            found,
            command=f"python scripts/attack --minutes {options.minutes:g} --seed {options.seed} --lanes {options.lanes}",
            machine=_machine(), date=datetime.now(timezone.utc).date().isoformat(),
            seconds=round(time.monotonic() - began), seed=options.seed,
        ),
        encoding="utf-8",
    )  # fmt: skip
    print(f"{options.out}")
    return int(any(problems_of(found).values()))


def _machine() -> str:
    import torch

    from scripts.bench.harness import machine

    torch.set_num_threads(1)
    return f"{os.cpu_count()} cores; each run on {machine(torch.device('cpu'))}"


if __name__ == "__main__":
    sys.exit(main())
