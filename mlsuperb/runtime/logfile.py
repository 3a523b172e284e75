"""The log file of a run, on a disk that may fill up."""

from __future__ import annotations

import logging
import sys


class LogFile(logging.FileHandler):
    """Where lines cannot be written (a full disk), that is said once on the terminal, in place of a traceback for each
    (`hydra.job_logging` of conf/config.yaml)."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Called by `emit` inside its except block."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            sys.stderr.write(f"lines of {self.baseFilename} are lost: {error.strerror}\n")
