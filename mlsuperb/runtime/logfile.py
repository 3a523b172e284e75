"""The log file of a run, on a disk that may fill up."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from mlsuperb.runtime.files import no_link


class LogFile(logging.StreamHandler):
    """Adds what is logged to a file. Where lines cannot be written (a full disk), that is said once on the terminal, in place of
    a traceback for each.

    Raises:
        OSError: the file cannot be opened, or is a symbolic link.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(open(path, "a", encoding="utf-8", opener=no_link))  # noqa: SIM115
        self._path, self._told = path, False
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S"))

    def close(self) -> None:
        """Close the file, too."""
        super().close()
        try:
            self.stream.close()
        except OSError as error:  # what could not be written is tried once more
            self._tell(error)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Called by `emit` inside its except block."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._tell(error)
        else:
            super().handleError(record)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            sys.stderr.write(f"lines of {self._path} are lost: {error.strerror}\n")
