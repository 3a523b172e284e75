"""SIGKILL at random moments of whole runs of every job, the same command until it ends, and what it left compared with a run
that was left alone, byte for byte (weights, labels, hypotheses; results without times).

    python scripts/attack/kills.py [--minutes 5] [--seed 0] [--lanes 2] [--only NAME ...]

Prints JSON. Exits 1 if a run did not end, or ended otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.attack import harness, jobs
from scripts.attack.harness import Whole

KILLS = (2, 8)  # of one run, at least and at most, before it is left to end
BEFORE_WORK = 0.1  # share of kills while settings are read
STAGES = {  # what the bar of progress of a run says -> where it is
    "sample": "features", "label": "labelling", "train": "training", "validate": "validation", "decode": "decoding",
}  # fmt: skip
BAR = re.compile(rf"\b({'|'.join(STAGES)}):? +\d+%")


@dataclass(kw_only=True)
class Chain:
    """One run, killed at `stages`, and started again until it ended. `problem`: what is wrong with its end."""

    job: str
    stages: list[str] = field(default_factory=list)
    problem: str | None = None


def stage(run: Path | None, said: str, *, since: float = 0.0) -> str:
    """Where a killed start was, by what it left and had printed. `since`: its time, since earlier ones left files, too."""
    if run is None or (not BAR.search(said) and not list(run.glob("*.json*"))):
        return "start"
    if any(path.stat().st_mtime >= since for path in run.rglob(".*.tmp")):
        return "writing"  # a file or checkpoint has its temporary name
    if (run / "result.json").is_file():
        return "end"
    if (run / "hypotheses.jsonl").is_file():
        return "scoring"
    bars = BAR.findall(said)
    return STAGES[bars[-1]] if bars else "preparation"


def chain(job: jobs.Job, whole: Whole, labels: Path, folder: Path, *, rng: random.Random) -> Chain:
    """Start a run, kill it some times, let it end, and compare."""
    root, found = folder / "run", Chain(job=job.name)
    shutil.rmtree(root, ignore_errors=True)
    command, num_kills = job.command(root, labels=labels), rng.randint(*KILLS)
    while True:
        kill_after_s = None
        if len(found.stages) < num_kills:
            kill_after_s = 0.0 if rng.random() < BEFORE_WORK else rng.uniform(0, whole.seconds)
        since = time.time()
        ended = harness.start(command, folder / "log", kill_after_s=kill_after_s)
        if ended.status != -9 or kill_after_s is None:
            break
        found.stages.append(stage(harness.run_in(root), ended.said, since=since))
    found.problem = harness.problem_of(ended, whole, root)
    return found


def lane(
    every: Sequence[jobs.Job], wholes: dict[str, Whole], labels: Path, folder: Path, *, seed: str, until: float
) -> None:
    """Chains one after the other, the jobs in turn, a line of JSON for each."""
    rng = random.Random(seed)
    folder.mkdir()
    order = rng.sample(list(every), len(every))
    while time.monotonic() < until:
        for job in order:
            found = chain(job, wholes[job.name], labels, folder, rng=rng)
            print(json.dumps(asdict(found)), flush=True)
            if found.problem is not None:  # kept to be looked at
                shutil.move(folder / "run", folder / f"failed-{time.time():.0f}")
            if time.monotonic() > until:
                break


def attack(folder: Path, *, seed: int, minutes: float, lanes: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """The figures of a campaign of so many minutes."""
    import os

    until, began = time.monotonic() + 60 * minutes, time.monotonic()
    jobs.write_data(folder / "data")
    every = [job for job in jobs.all_jobs(folder / "data") if not only or job.name in (*only, jobs.LABELS)]
    wholes, labels = harness.left_alone(every, folder)
    logs = [folder / f"lane{number}.jsonl" for number in range(lanes)]
    started = [
        harness.fork(
            lambda number=number: lane(
                every, wholes, labels, folder / f"lane{number}", seed=f"{seed}-{number}", until=until
            ),
            log,
        )
        for number, log in enumerate(logs)
    ]
    ends = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in started]
    chains = [
        Chain(**json.loads(line)) for log in logs for line in log.read_text().splitlines() if line.startswith("{")
    ]
    if any(ends):
        raise RuntimeError(f"a lane failed: {[log.read_text()[-1000:] for log in logs]}")
    return figures(chains) | {"seed": seed, "lanes": lanes, "seconds": round(time.monotonic() - began)}


def figures(chains: Sequence[Chain]) -> dict[str, Any]:
    """What chains come to: runs, kills by job and by stage, ends that were equal, and what was wrong with the others."""
    by_job: dict[str, Counter[str]] = {}
    for one in chains:
        by_job.setdefault(one.job, Counter()).update(one.stages)
    stages = sum(by_job.values(), Counter())
    return {
        "runs": len(chains),
        "kills": stages.total(),
        "equal": sum(one.problem is None for one in chains),
        "by_stage": dict(stages.most_common()),
        "by_job": {
            job: {
                "runs": sum(one.job == job for one in chains),
                "kills": counts.total(),
                "equal": sum(one.job == job and one.problem is None for one in chains),
                "by_stage": dict(counts.most_common()),
            }
            for job, counts in sorted(by_job.items())
        },
        "problems": [f"{one.job}, killed in {', '.join(one.stages)}: {one.problem}" for one in chains if one.problem],
    }


def main() -> int:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=2, help="runs at a time (default: 2)")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="of scripts/attack/jobs.py")
    options = parser.parse_args()
    harness.warm_up()
    folder = Path(tempfile.mkdtemp(prefix="attack-kills-"))
    found = attack(folder, **vars(options))
    print(json.dumps(found, indent=2))
    if found["problems"]:
        print(f"runs that failed lie in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
