"""Parts of messages: errors of others in one line, long lists cut short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def one_line(error: Exception) -> str:
    """The error's message without line breaks."""
    return " ".join(str(error).split())


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
