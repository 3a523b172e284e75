"""A run in a process that dies as its third checkpoint is written.

python tests/translation/dying_run.py OVERRIDE...
"""

from __future__ import annotations

import sys

import run_processes
from killed_runs import kill_after


def dies(overrides: list[str]) -> int:
    """Run it; returns its exit status."""
    return run_processes.status_of(__file__, *overrides)


def main(overrides: list[str]) -> None:
    """Run and die."""
    from mlsuperb.config.compose import compose
    from mlsuperb.run import run_experiment
    from mlsuperb.training.checkpoint import CheckpointFolder

    CheckpointFolder.save = kill_after(3, CheckpointFolder.save)  # type: ignore[method-assign]
    run_experiment(compose(overrides))


if __name__ == "__main__":
    main(sys.argv[1:])
