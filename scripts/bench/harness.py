"""What every measurement shares: sides in child processes that take turns, medians over rounds, two clocks, peak memory, the
machine, a table.

A side is a function `side(settings) -> figures` of a script beside this one. It runs in a process of its own, since Linux hands
the peak memory of a process on to the programs it starts; so scripts import nothing heavy outside of their functions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT), str(ROOT / "scripts")]
sys.path[:0] = PATHS
LIBRARIES = (
    "torch",
    "torchaudio",
    "transformers",
    "peft",
    "espnet",
    "s3prl",
    "jiwer",
    "scikit-learn",
    "faiss-cpu",
    "bitsandbytes",
)
ABSOLUTE = re.compile(r"(?<![\w.])/.*")  # a path of this machine, which nobody else has
UNFINISHED = "Cut off before its end: only what had been measured by then."
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


def in_child(side: Callable[..., Any], settings: argparse.Namespace, *, ours: bool = True, **changes: Any) -> Any:
    """The figures of `side(settings)`, with some settings changed, from a process of its own.

    Args:
        ours: threads wait for each other as in a run of `mlsuperb`.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    name = side.__module__
    if name == "__main__":
        name = ".".join(Path(sys.argv[0]).resolve().relative_to(ROOT).with_suffix("").parts)
    given = json.dumps(vars(settings) | changes, default=str)
    words = [sys.executable, __file__, name, side.__qualname__, given, "ours" if ours else "others"]
    env = environment() | {"OMP_NUM_THREADS": str(getattr(settings, "threads", 1)), "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise RuntimeError(f"{side.__qualname__} with {given} ended with {done.returncode}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def environment() -> dict[str, str]:
    """That of a child process, which finds this package."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*PATHS, os.environ.get("PYTHONPATH", "")])}


def in_turns(
    sides: Mapping[str, tuple[Side, argparse.Namespace]],
    *,
    rounds: int,
    so_far: Callable[[dict[str, Figures]], object] = lambda _: None,
) -> dict[str, Figures]:
    """The medians of the figures of every side; sides take turns, each measurement in a process of its own. Beside a side that
    has "ours" in its name, one that has not is of others; where none has it, all are ours.

    Args:
        so_far: called after each measurement with the medians up to then, of the sides that have any.
    """
    found: dict[str, list[Figures]] = {name: [] for name in sides}
    ours = {name for name in sides if "ours" in name.split()} or set(sides)
    for number in range(rounds):
        for name, (side, settings) in sides.items():
            found[name].append(in_child(side, settings, ours=name in ours, round=number))
            print(f"  {name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            so_far(medians(found))
    return medians(found)


def medians(found: Mapping[str, Sequence[Figures]]) -> dict[str, Figures]:
    """Those of the figures of every side that was measured."""
    return {name: {key: median([one[key] for one in of]) for key in of[0]} for name, of in found.items() if of}


def median(values: Sequence[Any]) -> Any:
    """Of numbers, and place by place of lists of numbers; of anything else the first."""
    if isinstance(values[0], list) and values[0] and isinstance(values[0][0], (int, float)):
        return [statistics.median(column) for column in zip(*values, strict=True)]
    return statistics.median(values) if isinstance(values[0], (int, float)) else values[0]


def set_up(settings: argparse.Namespace, *, as_it_comes: bool = False) -> Any:
    """Threads and device of this process; logging of errors alone. `as_it_comes`: a side of others, for which torch stays as it
    is for its users, without what `mlsuperb` sets (the library of fp32 products, how memory is kept)."""
    import logging

    import torch

    from mlsuperb.runtime.device import choose_device, prepare_process

    logging.getLogger().setLevel(logging.ERROR)
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    if not as_it_comes:
        return prepare_process(device)
    torch.set_float32_matmul_precision("highest")  # torch's own, where something else was built here before
    return device


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

    parts = [describe_device(device)]
    if device.type == "cpu":
        parts.append(processor())
    return ", ".join([*parts, f"torch {torch.__version__}"])


def processor() -> str:
    """A CPU's vector and matrix instructions."""
    cpuinfo = Path("/proc/cpuinfo")
    words = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.is_file() else set()
    return " ".join(sorted(words & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"})) or platform.machine()


class Table:
    """A markdown table that is printed row by row. The first `text` columns hold words, the others numbers."""

    shown: ClassVar[list[Table]] = []  # by this program

    def __init__(self, *columns: str, text: int = 1) -> None:
        self.columns, self.text, self.rows = columns, text, list[list[str]]()
        self.shown.append(self)
        print(f"| {' | '.join(columns)} |")
        print("|" + "---|" * text + "---:|" * (len(columns) - text), flush=True)

    def row(self, *cells: object) -> None:
        self.rows.append([*map(str, cells)])
        print(f"| {' | '.join(self.rows[-1])} |", flush=True)


def save(settings: argparse.Namespace, figures: Any, *, unfinished: bool = False) -> None:
    """Write everything to the file that `--json` names: the figures, the tables as they were printed, and where they are from.
    `docs/performance.md` is made of such files (`python scripts/performance.py --take FILE`).

    Args:
        unfinished: more will be measured. The file then says so, for the case that this program is ended before.
    """
    if settings.json:
        content = {
            **origin(),
            "tables": [vars(one) for one in Table.shown],
            "settings": vars(settings),
            "figures": figures,
            **({"note": UNFINISHED} if unfinished else {}),
        }
        settings.json.parent.mkdir(parents=True, exist_ok=True)
        settings.json.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def origin() -> dict[str, Any]:
    """What was called, when, at which commit (`+`: with changes), on what, with which versions of both sides' libraries."""
    script = Path(sys.argv[0]).resolve()
    words = [str(script.relative_to(ROOT)), *(word for word in sys.argv[1:] if not word.startswith("--json="))]
    if "--json" in words:
        del words[words.index("--json") : words.index("--json") + 2]
    words = [ABSOLUTE.sub("DIR", word) for word in words]
    cores = os.cpu_count()
    return {
        "command": shlex.join(words),
        "date": time.strftime("%Y-%m-%d"),
        "commit": _git("describe", "--always", "--dirty=+", "--exclude=*"),
        "machine": f"{cores} cores, {processor()}, Python {platform.python_version()}",
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return "unknown"
    return done.stdout.strip() or "unknown"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    module, function, words, whose = sys.argv[1:]
    if whose == "ours":
        from mlsuperb.runtime.threads import share_cores

        share_cores()  # before torch is loaded
    print(json.dumps(getattr(import_module(module), function)(argparse.Namespace(**json.loads(words)))))
