"""How a program of this package ends."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from mlsuperb.runtime.messages import printable

INTERRUPTED, PIPE_CLOSED = 130, 141  # exit statuses, as shells give them: 128 + the signal


def end(call: Callable[[], str | int | None]) -> NoReturn:
    """Call a command and end as a program should: with one message where the user must mend something (exit status 1; 2 for
    wrong usage), quietly after Ctrl-C and where nobody reads the output any more. Other errors are bugs: they show a traceback.
    """
    prepare_terminal()
    try:
        try:
            status = call()
        except SystemExit as asked:
            status = asked.code
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        status = PIPE_CLOSED
    except (ValueError, OSError) as error:
        status = str(error)
    sys.exit(printable(status) if isinstance(status, str) else status)


def prepare_terminal() -> None:
    """From now on a character that the terminal cannot show is replaced, where Python would raise an error, and a control
    character in what is logged is shown, not obeyed."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    logging.setLogRecordFactory(_Record)


class _Record(logging.LogRecord):
    """A record of which every control character is shown but line breaks and tabs."""

    def getMessage(self) -> str:  # noqa: N802
        return printable(super().getMessage())
