"""Time and peak memory of every stage that a manifest goes through: one of 150,000 transcribed utterances (142 languages, 15
datasets, a file each) from the tables to the table of languages, and one of 25 million untranscribed rows that is read and
sampled. Each stage runs in a process of its own, so that its peak is its own. Then what a manifest takes in worker processes,
beside one of Python texts:

    OMP_NUM_THREADS=1 python scripts/bench/scale.py [--rows 150000] [--many-rows 25000000] [--worker-rows 1000000]

`--quick` takes 3,000, 300,000 and 50,000 rows. What the stages write (1 GB) lies in a temporary folder below `--folder` and is
removed. Audio is not decoded and no model runs here.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

QUICK = {"rows": 3_000, "many_rows": 300_000, "worker_rows": 50_000}
TRANSCRIBED, MANY, WORKERS = "transcribed", "many", "workers"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=150_000)
    parser.add_argument("--many-rows", type=int, default=25_000_000)
    parser.add_argument("--worker-rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=(TRANSCRIBED, MANY, WORKERS), help="one of the three tables")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="where there is room (default: the system's temporary folder)")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(QUICK)
    print(machine(), end="\n\n")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if arguments.only in (None, TRANSCRIBED):
            in_child(make_corpus, folder, arguments.rows)
            show(TRANSCRIBED, folder, title=f"{arguments.rows:,} transcribed utterances")
        if arguments.only in (None, MANY):
            (folder / "many_rows").write_text(str(arguments.many_rows))
            show(MANY, folder, title=f"{arguments.many_rows:,} untranscribed rows")
        if arguments.only in (None, WORKERS):
            from scripts.bench.scale_workers import worker_table

            print(worker_table(num_rows=arguments.worker_rows, quick=arguments.quick))
    return 0


def machine() -> str:
    import numpy
    import pandas
    import pyarrow

    packages = ", ".join(f"{one.__name__} {one.__version__}" for one in (numpy, pandas, pyarrow))
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"


def make_corpus(folder: Path, num_rows: int) -> None:
    from scripts.bench.scale_corpus import write_corpus

    write_corpus(folder, num_rows=num_rows)


def show(kind: str, folder: Path, *, title: str) -> None:
    """Run the stages of a kind one after the other; print a row as soon as it is there."""
    from scripts.bench.scale_stages import MANY_STAGES, STAGES

    print(f"| {title} | s | processor s | peak, GB |\n|---|---:|---:|---:|")
    for name, stage in (STAGES if kind == TRANSCRIBED else MANY_STAGES).items():
        seconds, cpu_s, peak = in_child(run_stage, stage, folder)
        print(f"| {name} | {seconds:.2f} | {cpu_s:.2f} | {peak:.2f} |", flush=True)
    print()


def in_child(work: Callable[..., Any], *arguments: Any) -> Any:
    """In a process of its own, with the libraries that this one has loaded."""
    receive, send = get_context("fork").Pipe(duplex=False)
    child = get_context("fork").Process(target=lambda: send.send(work(*arguments)))
    child.start()
    send.close()
    found = receive.recv()
    child.join()
    return found


def run_stage(stage: Callable[[Path], Callable[[], object]], folder: Path) -> tuple[float, float, float]:
    """Wall and processor seconds of a stage's work, and the peak memory of this process (2^30 bytes)."""
    work = stage(folder)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start_s, time.process_time() - start_cpu_s, peak_gb()


def peak_gb() -> float:
    """From the kernel's account of this process; `getrusage` would count its parent's memory."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


if __name__ == "__main__":
    sys.exit(main())
