"""Faults of the machine in the middle of whole runs: files that may not grow (as on a full disk), few open files, folders that
cannot be written, a file system without locks. A run must go on, or end with one sentence and no traceback; the same command on a
sound machine must then end as if nothing had been.

    python scripts/attack/faults.py [--minutes 2] [--seed 0] [--only FAULT ...]

Prints JSON. Exits 1 if a start printed a traceback, or a run did not end, or ended otherwise.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import fcntl
import json
import math
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.attack import harness, jobs
from scripts.attack.harness import Whole

SMALLEST, LARGEST = 200, 300_000  # bytes that a file may have; the files of these runs have up to 300 kB
FILES = (1, 16)  # that may be opened beside those that are open
KEPT = ("manifests", "features")  # folders below that of all runs
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2  # linux/capability.h: root's right to write anywhere
CAPABILITY_VERSION = 0x20080522


@dataclass(kw_only=True)
class Tally:
    """What came of one kind of fault."""

    starts: int = 0
    went_on: int = 0
    told: int = 0
    tracebacks: int = 0
    equal: int = 0
    problems: list[str] = field(default_factory=list)


def limit_size(rng: random.Random, _: Path) -> Callable[[], None]:
    """No file may become larger than some number of bytes, small ones being as likely as large ones."""
    most = round(math.exp(rng.uniform(math.log(SMALLEST), math.log(LARGEST))))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def limit_files(rng: random.Random, _: Path) -> Callable[[], None]:
    """Few more files may be open than are now."""
    more = rng.randint(*FILES)

    def limit() -> None:
        most = max(map(int, os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))) + more
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    return limit


def forbid_writing(rng: random.Random, root: Path) -> Callable[[], None]:
    """A folder is read-only: that of all runs, that of manifests or features, or the run's own, which a kill has left."""
    chosen = rng.choice([root, *(root / name for name in KEPT), harness.run_in(root) or root])
    chosen.mkdir(parents=True, exist_ok=True)
    chosen.chmod(0o555)
    return without_rights_of_root


def without_locks(_: random.Random, __: Path) -> Callable[[], None]:
    """`flock` fails, as on Lustre without `-o flock`."""

    def lose() -> None:
        def flock(*_: object) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        fcntl.flock = flock

    return lose


FAULTS: dict[str, Callable[[random.Random, Path], Callable[[], None]]] = {
    "file size": limit_size,
    "open files": limit_files,
    "read-only folder": forbid_writing,
    "no locks": without_locks,
}


def without_rights_of_root() -> None:
    """From now on this process may write only where modes say so, also as root (Linux)."""
    if os.geteuid() == 0 and sys.platform == "linux":
        libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
        libc.capget(header, sets)
        sets[0] &= ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)  # the effective ones
        libc.capset(header, sets)


def suffer(
    job: jobs.Job, whole: Whole, labels: Path, folder: Path, *, fault: str, rng: random.Random, tally: Tally
) -> None:
    """A run under a fault, sometimes after a kill, and then without it; counted in `tally`."""
    root = folder / "run"
    shutil.rmtree(root, ignore_errors=True)
    command = job.command(root, labels=labels)
    if rng.random() < 0.5:
        harness.start(command, folder / "log", kill_after_s=rng.uniform(0, whole.seconds))
    ended = harness.start(command, folder / "log", before=FAULTS[fault](rng, root))
    tally.starts += 1
    tally.went_on += ended.status == 0
    tally.told += ended.status > 0 and not ended.has_traceback
    if ended.has_traceback or ended.status < 0:
        tally.tracebacks += 1
        tally.problems.append(f"{job.name}: exit {ended.status}: {ended.said[-1500:]}")
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    if problem := harness.problem_of(harness.start(command, folder / "log"), whole, root):
        tally.problems.append(f"{job.name}, on a sound machine: {problem}")
    else:
        tally.equal += 1


def attack(folder: Path, *, seed: int, minutes: float, only: Sequence[str] = ()) -> dict[str, Any]:
    """The figures of so many minutes, by fault."""
    began, rng = time.monotonic(), random.Random(seed)
    jobs.write_data(folder / "data")
    every = jobs.all_jobs(folder / "data")
    wholes, labels = harness.left_alone(every, folder)
    tallies = {name: Tally() for name in FAULTS if not only or name in only}
    while time.monotonic() < began + 60 * minutes:
        for name, tally in tallies.items():
            job = rng.choice(every)
            suffer(job, wholes[job.name], labels, folder, fault=name, rng=rng, tally=tally)
    found = {name: vars(tally) for name, tally in tallies.items()}
    return {
        "starts": sum(tally.starts for tally in tallies.values()),
        "faults": {
            name: {key: value for key, value in one.items() if key != "problems"} for name, one in found.items()
        },
        "problems": [f"{name}: {problem}" for name, one in found.items() for problem in one["problems"]],
        "seed": seed,
        "seconds": round(time.monotonic() - began),
    }


def main() -> int:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=(), choices=sorted(FAULTS), metavar="FAULT")
    options = parser.parse_args()
    harness.warm_up()
    with tempfile.TemporaryDirectory(prefix="attack-faults-") as folder:
        found = attack(Path(folder), **vars(options))
    print(json.dumps(found, indent=2))
    return int(bool(found["problems"]))


if __name__ == "__main__":
    sys.exit(main())
