"""How a program of this package ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED, PIPE_CLOSED = 130, 141  # exit statuses, as shells give them: 128 + the signal


def end(call: Callable[[], str | int | None]) -> NoReturn:
    """Call a command and end as a program should: with one message where the user must mend something (exit status 1; 2 for
    wrong usage), quietly after Ctrl-C and where nobody reads the output any more. Other errors are bugs: they show a traceback.
    """
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
    sys.exit(status)
