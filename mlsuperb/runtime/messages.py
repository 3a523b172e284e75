"""Parts of messages: errors of others in one line, long lists cut short, what a terminal may show."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

log = logging.getLogger(__name__)

_CONTROL = ("Cc", "Zl", "Zp", "Cs")  # control characters, separators of lines and paragraphs, halves of surrogate pairs


def one_line(error: BaseException) -> str:
    """The error's message without line breaks."""
    return " ".join(str(error).split())


def printable(text: str, *, but: str = "\n\t") -> str:
    """`text` with its control characters as they are written in Python (`\\x1b`): a name from somebody's data must not colour,
    clear or title a terminal, nor break a line of a table. `but`: those that stay."""
    if text.isprintable():
        return text
    return "".join(repr(one)[1:-1] if unicodedata.category(one) in _CONTROL and one not in but else one for one in text)


@contextmanager
def reported(what: str) -> Iterator[None]:
    """Around what follows finished work (its table, its card): a failure of it is logged, after `what`, and the work stands."""
    try:
        yield
    except (Exception, SystemExit) as error:  # noqa: BLE001  (rich exits where nobody reads its output any more)
        log.warning("%s: %s", what, one_line(error))


def plural(number: int, name: str) -> str:
    """`1 point`, `1,234 points`."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def some(names: Sequence[str], *, at_most: int = 5) -> str:
    """The first names of a list."""
    return ", ".join(names[:at_most]) + (", ..." if len(names) > at_most else "")


def listed(wrong: Mapping[str, Sequence[str]]) -> str:
    """What does not fit, by what is wrong with it: how many names, and some of them."""
    return "; ".join(f"{len(names)} {what} ({some(names)})" for what, names in wrong.items() if names)


def describe_trained(counts: Mapping[str, int]) -> str:
    """Trained parameters of each part of a model: `4,735,012 trained parameters (head 4,700,000, objective 35,012)`."""
    listed = ", ".join(f"{part} {count:,}" for part, count in counts.items())
    return f"{sum(counts.values()):,} trained parameters ({listed or 'none'})"
