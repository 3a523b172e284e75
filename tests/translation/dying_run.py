"""A run in a process that dies as its third checkpoint is written.

python tests/translation/dying_run.py OVERRIDE...
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import run_processes


def dies(overrides: list[str]) -> int:
    """Run it; returns its exit status."""
    return run_processes.status_of(__file__, *overrides)


def main(overrides: list[str]) -> None:
    """Run and die."""
    from mlsuperb.config.compose import compose
    from mlsuperb.run import run_experiment
    from mlsuperb.training.checkpoint import CheckpointFolder

    save, left = CheckpointFolder.save, 3

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return save(*arguments, **named)

    CheckpointFolder.save = counted  # type: ignore[method-assign]
    run_experiment(compose(overrides))


if __name__ == "__main__":
    main(sys.argv[1:])
