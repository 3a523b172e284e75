"""A count of everything that was skipped, with its hours and a few names of each kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

NUM_EXAMPLES = 5


class SkipReport:
    """Counts by reason and split, seconds by dataset, and the first few names of each reason. As text it has one line per
    reason.

    Attributes:
        lists: what is too long for it, lines by the name of the file that they are written to beside a stored manifest.

    Args:
        reasons: an earlier report (`to_dict()`), which is added to.
    """

    def __init__(self, reasons: dict[str, dict[str, Any]] | None = None) -> None:
        self._reasons = {} if reasons is None else reasons
        self.lists: dict[str, list[str]] = {}

    def add(self, reason: str, name: str, *, split: str = "") -> None:
        """Count one item called `name`; `split` is empty where it belongs to none."""
        self._extend(reason, [name], [split])

    def drop(self, frame: pd.DataFrame, mask: pd.Series | np.ndarray, reason: str) -> pd.DataFrame:
        """The rows of a manifest that `mask` does not mark; those that it marks are counted."""
        self.count(frame[mask], reason)
        return frame[~mask]

    def count(self, rows: pd.DataFrame, reason: str, *, kept: bool = False) -> None:
        """Count rows of a manifest and add up their seconds; `kept`: they are not lost, but part of it in another form."""
        self._extend(reason, rows["id"], rows["split"])
        if kept and len(rows):
            self._reasons[reason]["kept"] = True
        if "duration_s" not in rows:  # text has none
            return
        for dataset, seconds in rows.groupby("dataset")["duration_s"].sum().items():
            if seconds > 0:  # that of missing audio is not known
                total = self._reasons[reason].setdefault("seconds", {})
                total[dataset] = round(total.get(dataset, 0.0) + float(seconds), 3)

    def list_in(self, name: str, lines: Iterable[str]) -> None:
        """Add lines to the file called `name` (`lists`)."""
        if added := list(lines):
            self.lists.setdefault(name, []).extend(added)

    def include(self, other: SkipReport, *, part: str) -> None:
        """Add the report on a part of a corpus, under the part's name."""
        for name, lines in other.lists.items():
            self.list_in(name, lines)
        for reason, entry in other.to_dict().items():
            total = self._reasons.setdefault(reason, {"count": 0, "splits": {}, "examples": []})
            for name in ("splits", "seconds"):
                for key, value in entry.get(name, {}).items():
                    total.setdefault(name, {})[key] = total.get(name, {}).get(key, 0) + value
            total["count"] += entry["count"]
            total.setdefault("parts", {})[part] = entry["count"]
            names = [f"{part}: {name}" for name in entry["examples"]]
            total["examples"] = (total["examples"] + names)[:NUM_EXAMPLES]
            if entry.get("kept"):
                total["kept"] = True

    def _extend(self, reason: str, names: Iterable[str], splits: Iterable[str]) -> None:
        for name, split in zip(names, splits, strict=True):
            entry = self._reasons.setdefault(reason, {"count": 0, "splits": {}, "examples": []})
            entry["count"] += 1
            if split:
                entry["splits"][split] = entry["splits"].get(split, 0) + 1
            if len(entry["examples"]) < NUM_EXAMPLES:
                entry["examples"].append(name)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """`{reason: {"count": n, "splits": {split: n}, "examples": [name, ...]}}`, in the order of first sight; and, where
        there are any, `"seconds": {dataset: s}`, `"parts": {part: n}` and `"kept": True` (see `count`)."""
        return {
            reason: {name: dict(value) if isinstance(value, dict) else value for name, value in entry.items()}
            for reason, entry in self._reasons.items()
        }

    def __str__(self) -> str:
        lines = []
        for reason, entry in self._reasons.items():
            counts = [entry["splits"], entry.get("parts", {})]
            texts = [", ".join(f"{name} {count}" for name, count in one.items()) for one in counts if one]
            more = ", ..." if entry["count"] > len(entry["examples"]) else ""
            place = f" [{'; '.join(texts)}]" if texts else ""
            lines.append(f"{entry['count']} x {reason}{place}: {', '.join(entry['examples'])}{more}")
        return "\n".join(lines) or "nothing was skipped"
