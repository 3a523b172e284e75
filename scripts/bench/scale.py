"""Time and peak memory of every stage that a manifest goes through: one of 150,000 transcribed utterances (142 languages, 15
datasets, a file each) from the tables to the table of languages, and one of 25 million untranscribed rows that is read and
sampled. Each stage runs in a process of its own, so that its peak is its own. Then what a manifest takes in worker processes,
beside one of Python texts:

    OMP_NUM_THREADS=1 python scripts/bench/scale.py [--rows 150000] [--many-rows 25000000] [--worker-rows 1000000]

`--quick` takes 3,000, 300,000 and 50,000 rows. What the stages write (1 GB) lies in a temporary folder below `--folder` and is
removed. Audio is not decoded and no model runs here.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, command_line, save, seconds

QUICK = {"rows": 3_000, "many_rows": 300_000, "worker_rows": 50_000}
TRANSCRIBED, MANY, WORKERS = "transcribed", "many", "workers"


def make_corpus(folder: Path, num_rows: int) -> None:
    from scripts.bench.scale_corpus import write_corpus

    write_corpus(folder, num_rows=num_rows)


def in_fork(work: Callable[..., Any], *arguments: Any) -> Any:
    """In a process of its own, with the libraries that this one has loaded: two dozen stages need not load them again."""
    receive, send = get_context("fork").Pipe(duplex=False)
    child = get_context("fork").Process(target=lambda: send.send(work(*arguments)))
    child.start()
    send.close()
    found = receive.recv()
    child.join()
    return found


def run_stage(stage: Callable[[Path], Iterator[None]], folder: Path) -> list[float]:
    """Wall and processor seconds of a stage's work, and the peak memory of this process (2^30 bytes), from the kernel's account
    of it: `getrusage` would count its parent's."""
    work = stage(folder)
    next(work)
    taken = seconds(lambda: next(work, None))
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return [*taken, int(status.partition("VmHWM:")[2].split()[0]) / 2**20]


def machine() -> str:
    """Processor, Python and the libraries that count."""
    from importlib.metadata import version

    packages = ", ".join(f"{one} {version(one)}" for one in ("numpy", "pandas", "pyarrow"))
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"


def show(kind: str, title: str, folder: Path) -> Figures:
    """Run the stages of a kind one after the other; a row as soon as it is there."""
    from scripts.bench.scale_stages import MANY_STAGES, STAGES

    table, found = Table(title, "s", "processor s", "peak, GB"), {}
    for name, stage in (STAGES if kind == TRANSCRIBED else MANY_STAGES).items():
        found[name] = in_fork(run_stage, stage, folder)
        table.row(name, *(f"{value:.2f}" for value in found[name]))
    print()
    return found


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--rows", type=int, default=150_000)
    parser.add_argument("--many-rows", type=int, default=25_000_000)
    parser.add_argument("--worker-rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=(TRANSCRIBED, MANY, WORKERS), help="one of the three tables")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="where there is room (default: the system's temporary folder)")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    print(machine(), end="\n\n")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.only in (None, TRANSCRIBED):
            in_fork(make_corpus, folder, options.rows)
            found[TRANSCRIBED] = show(TRANSCRIBED, f"{options.rows:,} transcribed utterances", folder)
        if options.only in (None, MANY):
            (folder / "many_rows").write_text(str(options.many_rows))
            found[MANY] = show(MANY, f"{options.many_rows:,} untranscribed rows", folder)
        if options.only in (None, WORKERS):
            from scripts.bench.scale_workers import worker_table

            found[WORKERS] = worker_table(options)
    save(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
