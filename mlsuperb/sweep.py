"""What a sweep ends with: one table of its runs."""

from __future__ import annotations

import atexit
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from mlsuperb.table import show_runs

log = logging.getLogger(__name__)

SWEEP = "MLSUPERB_SWEEP"  # path of the sweep's list of runs; an environment variable, since launchers start processes


class SweepTable(Callback):
    """Keeps a list of a sweep's runs in `<output_root>/sweeps/`, and shows and writes their table when the last has ended
    (`hydra.callbacks` of conf/config.yaml)."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Begin the list."""
        name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        path = Path(config.output_root).resolve() / "sweeps" / f"{name}-{os.getpid()}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.environ[SWEEP] = str(path)
        atexit.register(end_sweep)  # where a run failed or was interrupted, Hydra does not call `on_multirun_end`

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Add a run, in whatever process it is started."""
        if path := os.environ.get(SWEEP):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"{Path(config.output_root).resolve() / config.run_id}\n")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Every run has finished."""
        end_sweep()


def end_sweep() -> None:
    """Show the table of what has finished, if a sweep was begun and has not shown it."""
    name = os.environ.pop(SWEEP, None)
    if name is None:
        return
    path = Path(name)
    folders = [Path(line) for line in dict.fromkeys(path.read_text(encoding="utf-8").splitlines())]
    try:
        show_runs(folders, file=path.with_suffix(".md"), seeds="each_and_mean")
    except ValueError as error:
        log.warning("no table: %s", error)
