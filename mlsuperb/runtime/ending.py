"""How a program is told to end: Ctrl-C (SIGINT) and SIGTERM, by a user or a queue."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

log = logging.getLogger(__name__)


class Terminated(KeyboardInterrupt):
    """The same for SIGTERM as `KeyboardInterrupt` for Ctrl-C."""


def status_of(error: KeyboardInterrupt) -> int:
    """The exit status of a program that was ended so, as shells give it: 128 + the signal."""
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


def ended_by(error: KeyboardInterrupt, message: str) -> NoReturn:
    """End the program with a message and the status of the signal."""
    sys.stderr.write(f"\n{message}\n")
    sys.exit(status_of(error))


def take_sigterm() -> None:
    """Let SIGTERM raise `Terminated`, unless something else already does something about it (submitit)."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def finished_first(save: Callable[[], None]) -> Iterator[None]:
    """Let what is done inside be completed and saved before the first SIGINT or SIGTERM ends the program. The second ends it at
    once."""
    noted: list[int] = []
    ours = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}

    def note(number: int, frame: FrameType | None) -> None:
        if noted:
            ours[signal.Signals(number)](number, frame)
        noted.append(number)
        log.warning("told to end: saving what was trained (a second signal ends it at once)")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = {number: handler for number, handler in ours.items() if signal.getsignal(number) is handler}
    for number in held:
        signal.signal(number, note)
    try:
        yield
        if noted:
            save()
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    if noted:
        raise Terminated if noted[0] == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def saved_if_ended(save: Callable[[], None]) -> Iterator[None]:
    """Save where a signal ends what is done inside, which is done again another time."""
    try:
        yield
    except KeyboardInterrupt:
        save()
        raise
