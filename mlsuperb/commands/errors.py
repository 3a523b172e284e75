"""How a program of this package ends."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from mlsuperb.runtime.ending import status_of
from mlsuperb.runtime.messages import printable
from mlsuperb.runtime.threads import share_cores

PIPE_CLOSED = 141  # exit status, as shells give it: 128 + the signal


def _check_interpreter() -> None:
    if sys.flags.optimize > 1:
        raise ValueError(
            "python -OO (PYTHONOPTIMIZE=2) removes docstrings, which transformers reads when its models are made: start without "
            "it, or with -O"
        )


def end(call: Callable[[], str | int | None]) -> NoReturn:
    """Call a command and end as a program should: with one message where the user must mend something (exit status 1; 2 for
    wrong usage), quietly after Ctrl-C and where nobody reads the output any more. Other errors are bugs: they show a traceback.
    """
    prepare_terminal()
    share_cores()
    try:
        try:
            _check_interpreter()
            status = call()
        except SystemExit as asked:
            status = asked.code
        sys.stdout.flush()
    except KeyboardInterrupt as ended:
        status = status_of(ended)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        status = PIPE_CLOSED
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        status = for_user(error)
        if status is None:
            raise
    sys.exit(printable(status) if isinstance(status, str) else status)


def for_user(error: BaseException) -> str | None:
    """The one message about an error that the user must mend, or that the system made; None where it is a bug."""
    from mlsuperb.runtime.refusals import sentence

    return sentence(error) or (str(error) if isinstance(error, (ValueError, OSError)) else None)


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
