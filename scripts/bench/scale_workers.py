"""What a manifest takes in worker processes: as rows of Arrow memory (`mlsuperb.data.rows`), and as arrays of Python texts,
which is what a table's columns become with `to_numpy()`."""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader, Dataset

from mlsuperb.data.manifest import columns, read_manifest
from mlsuperb.data.rows import Rows
from mlsuperb.types import Utterance
from scripts.bench.harness import Figures, Table, in_child
from scripts.bench.scale_corpus import write_untranscribed

NUM_WORKERS, BATCH_SIZE = 4, 64


class Texts:
    """The same as `Rows`, of Python texts."""

    def __init__(self, manifest: pd.DataFrame) -> None:
        self._columns = {name: manifest[name].to_numpy() for name in columns(Utterance)}

    def __len__(self) -> int:
        return len(self._columns["id"])

    def __getitem__(self, index: int) -> Utterance:
        return Utterance(**{name: column[index] for name, column in self._columns.items()})


class Looked(Dataset[int]):
    """Reads a row where a dataset would load its audio."""

    def __init__(self, rows: Rows[Utterance] | Texts) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> int:
        return len(self._rows[index].audio)


ROWS = {"Python texts": Texts, "Arrow rows": partial(Rows, record=Utterance)}


def worker_table(options: argparse.Namespace) -> dict[str, Figures]:
    """Memory that one worker shares with no other, after a pass of all of them in random order. Each row is measured in a
    process of its own: what the others leave behind would be shared as well."""
    title = f"{options.worker_rows:,} rows, {NUM_WORKERS} workers"
    table, found = Table(title, "main process, GB", "a worker's own, GB", "all, GB", "rows / s"), {}
    for kind in ROWS:
        for method in ("fork",) if options.quick else ("fork", "spawn"):
            found[f"{kind}, {method}"] = one = in_child(measure, options, kind=kind, method=method)
            shown = [f"{value:.2f}" for value in one["gb"]]
            table.row(f"{kind}, {method}", *shown, f"{one['rows_per_s']:,.0f}")
    return found


def measure(settings: argparse.Namespace) -> Figures:
    """One row of the table."""
    # more workers than cores: memory is what counts here
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    with tempfile.TemporaryDirectory() as folder:
        write_untranscribed(Path(folder) / "manifest.parquet", num_rows=settings.worker_rows)
        rows: Any = ROWS[settings.kind](read_manifest(Path(folder) / "manifest.parquet"))
    order = np.random.default_rng(0).permutation(len(rows))
    loader: DataLoader[int] = DataLoader(
        Looked(rows),
        batch_sampler=np.array_split(order, -(-len(rows) // BATCH_SIZE)),  # type: ignore[arg-type]
        num_workers=NUM_WORKERS,
        multiprocessing_context=settings.method,
        persistent_workers=True,  # they are still there when the pass is over
    )
    start_s = time.perf_counter()
    batches = iter(loader)
    for _ in batches:
        pass
    rows_per_s = len(rows) / (time.perf_counter() - start_s)
    workers = [worker.pid for worker in batches._workers]  # type: ignore[attr-defined]
    own_gb = [_memory_gb(pid, "Private_Clean", "Private_Dirty") for pid in workers]
    shares_gb = [_memory_gb(pid, "Pss") for pid in ("self", *workers)]
    return {"gb": [shares_gb[0], sum(own_gb) / NUM_WORKERS, sum(shares_gb)], "rows_per_s": rows_per_s}


def _memory_gb(pid: int | str, *names: str) -> float:
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:])
    return sum(int(number) for name, number, *_ in lines if name.rstrip(":") in names) / 2**20
