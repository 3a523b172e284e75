"""A count of everything that was passed over, with a few names of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

NUM_EXAMPLES = 5


class SkipReport:
    """Counts by reason and split, and the first few names of each reason."""

    def __init__(self) -> None:
        self._reasons: dict[str, dict[str, Any]] = {}

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
    """The kept rows of one split; the others are added to a skip report (`SkipReport.to_dict()`)."""
    lost = rows["id"][[not one for one in kept]].tolist()
    if lost:
        entry = skipped.setdefault(reason, {"count": 0, "splits": {}, "examples": []})
        entry["count"] += len(lost)
        entry["splits"][str(rows["split"].iloc[0])] = len(lost)
        entry["examples"] = [*entry["examples"], *lost][:NUM_EXAMPLES]
    return rows[list(kept)]


def skip_text(skipped: Mapping[str, Mapping[str, Any]]) -> str:
    """A skip report (`SkipReport.to_dict()`) for a reader, one reason a line."""
    if not skipped:
        return "nothing was skipped"
    return "\n".join(_line(reason, entry) for reason, entry in skipped.items())


def _line(reason: str, entry: Mapping[str, Any]) -> str:
    splits = ", ".join(f"{split} {count}" for split, count in entry["splits"].items())
    more = ", ..." if entry["count"] > len(entry["examples"]) else ""
    return f"{entry['count']} x {reason}{f' [{splits}]' if splits else ''}: {', '.join(entry['examples'])}{more}"
