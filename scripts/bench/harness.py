"""What every measurement shares: sides in child processes that take turns, medians over rounds, two clocks, peak memory, the
machine, a table.

A side is a function `side(settings) -> figures` of a script beside this one. It runs in a process of its own, since Linux hands
the peak memory of a process on to the programs it starts; so scripts import nothing heavy outside of their functions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT), str(ROOT / "scripts")]
sys.path[:0] = PATHS
Figures = dict[str, Any]
Side = Callable[[argparse.Namespace], Figures]


def command_line(doc: str | None, *, rounds: int | None = None, device: str | None = None) -> argparse.ArgumentParser:
    """A parser with what most measurements have: `--threads`, `--json` and, where there is a default for them, `--rounds` and
    `--device`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help=f"of every measurement (default: {rounds})")
    if device is not None:
        parser.add_argument("--device", default=device, help=f"auto, cpu, cuda, ... (default: {device})")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = int(os.environ.get("OMP_NUM_THREADS", cores))
    parser.add_argument("--threads", type=int, default=threads, help=f"of a CPU (default: {threads})")
    parser.add_argument("--json", type=Path, help="write all figures to this file, too")
    return parser


def in_child(side: Callable[..., Any], settings: argparse.Namespace, **changes: Any) -> Any:
    """The figures of `side(settings)`, with some settings changed, from a process of its own.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    name = side.__module__
    if name == "__main__":
        name = ".".join(Path(sys.argv[0]).resolve().relative_to(ROOT).with_suffix("").parts)
    given = json.dumps(vars(settings) | changes, default=str)
    done = subprocess.run(
        [sys.executable, __file__, name, side.__qualname__, given], capture_output=True, text=True, check=False,
        env=environment() | {"OMP_NUM_THREADS": str(getattr(settings, "threads", 1)), "TRANSFORMERS_VERBOSITY": "error"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{side.__qualname__} with {given} ended with {done.returncode}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def environment() -> dict[str, str]:
    """That of a child process, which finds this package."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*PATHS, os.environ.get("PYTHONPATH", "")])}


def in_turns(sides: Mapping[str, tuple[Side, argparse.Namespace]], *, rounds: int) -> dict[str, Figures]:
    """The medians of the figures of every side; sides take turns, each measurement in a process of its own."""
    found: dict[str, list[Figures]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, (side, settings) in sides.items():
            found[name].append(in_child(side, settings, round=number))
            print(f"  {name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return {name: {key: median([one[key] for one in of]) for key in of[0]} for name, of in found.items()}


def median(values: Sequence[Any]) -> Any:
    """Of numbers, and place by place of lists of numbers; of anything else the first."""
    if isinstance(values[0], list) and values[0] and isinstance(values[0][0], (int, float)):
        return [statistics.median(column) for column in zip(*values, strict=True)]
    return statistics.median(values) if isinstance(values[0], (int, float)) else values[0]


def set_up(settings: argparse.Namespace) -> Any:
    """Threads and device of this process; logging of errors alone."""
    import logging

    import torch

    from mlsuperb.runtime.device import choose_device, prepare_process

    logging.getLogger().setLevel(logging.ERROR)
    torch.set_num_threads(settings.threads)
    return prepare_process(choose_device(settings.device))


def clocks(device: Any = None) -> tuple[float, float]:
    """Wall and processor seconds, once the device is done. On a machine that others use, too, go by the latter."""
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter(), time.process_time()


def seconds(work: Callable[[], object], *, times: int = 1, device: Any = None) -> list[float]:
    """What one call takes, by both clocks."""
    start = clocks(device)
    for _ in range(times):
        work()
    return [(end - begin) / times for begin, end in zip(start, clocks(device), strict=True)]


def peak_gb(device: Any = None) -> float:
    """Most memory of this process so far (10^9 bytes): of the GPU, or of everything, libraries too."""
    import resource

    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def machine(device: Any) -> str:
    """Device, threads, what a CPU multiplies matrices with, torch's version."""
    import torch

    from mlsuperb.runtime.device import describe_device

    parts, cpuinfo = [describe_device(device)], Path("/proc/cpuinfo")
    if device.type == "cpu":
        words = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.is_file() else set()
        parts.append(" ".join(sorted(words & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"})) or "unknown CPU")
    return ", ".join([*parts, f"torch {torch.__version__}"])


class Table:
    """A markdown table that is printed row by row. The first `text` columns hold words, the others numbers."""

    def __init__(self, *columns: str, text: int = 1) -> None:
        self.row(*columns)
        print("|" + "---|" * text + "---:|" * (len(columns) - text), flush=True)

    def row(self, *cells: object) -> None:
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def save(settings: argparse.Namespace, figures: Any) -> None:
    """Write everything to the file that `--json` names."""
    if settings.json:
        content = {"settings": vars(settings), "figures": figures}
        settings.json.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    module, function, words = sys.argv[1:]
    print(json.dumps(getattr(import_module(module), function)(argparse.Namespace(**json.loads(words)))))
