"""A count of everything that was skipped, with a few names of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

NUM_EXAMPLES = 5


class SkipReport:
    """Counts by reason and split, and the first few names of each reason.

    Args:
        reasons: an earlier report (`to_dict()`), which is added to.
    """

    def __init__(self, reasons: dict[str, dict[str, Any]] | None = None) -> None:
        self._reasons = {} if reasons is None else reasons

    def add(self, reason: str, name: str, *, split: str = "") -> None:
        """Count one item called `name`; `split` is empty where it belongs to none."""
        self.extend(reason, [name], [split])

    def extend(self, reason: str, names: Iterable[str], splits: Iterable[str]) -> None:
        """Count many items."""
        for name, split in zip(names, splits, strict=True):
            entry = self._reasons.setdefault(reason, {"count": 0, "splits": {}, "examples": []})
            entry["count"] += 1
            if split:
                entry["splits"][split] = entry["splits"].get(split, 0) + 1
            if len(entry["examples"]) < NUM_EXAMPLES:
                entry["examples"].append(name)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """`{reason: {"count": n, "splits": {split: n}, "examples": [name, ...]}}`, in the order of first sight."""
        return {reason: {**entry, "splits": dict(entry["splits"])} for reason, entry in self._reasons.items()}

    def __str__(self) -> str:
        return skip_text(self._reasons)


def drop_counted(
    rows: pd.DataFrame, kept: Sequence[bool], reason: str, skipped: dict[str, dict[str, Any]]
) -> pd.DataFrame:
    """The kept rows of a manifest; the others are added to a skip report (`SkipReport.to_dict()`)."""
    lost = rows[[not one for one in kept]]
    SkipReport(skipped).extend(reason, lost["id"], lost["split"])
    return rows[list(kept)]


def skip_text(skipped: Mapping[str, Mapping[str, Any]]) -> str:
    """A skip report (`SkipReport.to_dict()`) for people, one line per reason."""
    if not skipped:
        return "nothing was skipped"
    return "\n".join(_line(reason, entry) for reason, entry in skipped.items())


def _line(reason: str, entry: Mapping[str, Any]) -> str:
    splits = ", ".join(f"{split} {count}" for split, count in entry["splits"].items())
    more = ", ..." if entry["count"] > len(entry["examples"]) else ""
    return f"{entry['count']} x {reason}{f' [{splits}]' if splits else ''}: {', '.join(entry['examples'])}{more}"
