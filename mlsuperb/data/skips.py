"""A count of everything that was skipped, with a few names of each kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

NUM_EXAMPLES = 5


class SkipReport:
    """Counts by reason and split, and the first few names of each reason. As text it has one line per reason.

    Args:
        reasons: an earlier report (`to_dict()`), which is added to.
    """

    def __init__(self, reasons: dict[str, dict[str, Any]] | None = None) -> None:
        self._reasons = {} if reasons is None else reasons

    def add(self, reason: str, name: str, *, split: str = "") -> None:
        """Count one item called `name`; `split` is empty where it belongs to none."""
        self._extend(reason, [name], [split])

    def drop(self, frame: pd.DataFrame, mask: pd.Series | np.ndarray, reason: str) -> pd.DataFrame:
        """The rows of a manifest that `mask` does not mark; those that it marks are counted."""
        self._extend(reason, frame["id"][mask], frame["split"][mask])
        return frame[~mask]

    def _extend(self, reason: str, names: Iterable[str], splits: Iterable[str]) -> None:
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
        lines = []
        for reason, entry in self._reasons.items():
            splits = ", ".join(f"{split} {count}" for split, count in entry["splits"].items())
            more = ", ..." if entry["count"] > len(entry["examples"]) else ""
            place = f" [{splits}]" if splits else ""
            lines.append(f"{entry['count']} x {reason}{place}: {', '.join(entry['examples'])}{more}")
        return "\n".join(lines) or "nothing was skipped"
