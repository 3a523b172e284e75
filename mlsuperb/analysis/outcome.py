"""What an analysis gives, and how it is shown and saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlsuperb.analysis.chart import Chart
from mlsuperb.runtime.files import write_atomic
from mlsuperb.scoring.table import Cells


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Figures, a short table, texts beside the figures (by file name), and remarks that the reader must know."""

    charts: Sequence[Chart]
    table: Cells
    texts: dict[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    synthetic: bool = False

    def save(self, folder: Path) -> Iterator[Path]:
        """Write figures and texts.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for chart in self.charts:
            yield from chart.save(folder)
        for name, text in self.texts.items():
            write_atomic(folder / name, [text])
            yield folder / name
