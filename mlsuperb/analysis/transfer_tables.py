"""A transfer matrix as tables: cells, sample utterances, a summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mlsuperb.analysis.transfer import Cell, Transfer
from mlsuperb.scoring.result import scoring_settings
from mlsuperb.scoring.table import Cells, percent
from mlsuperb.scoring.utterances import compared_texts

PLACES = (0.25, 0.5, 0.75)  # of the sample utterances, from best to worst


def cells_table(transfer: Transfer) -> pd.DataFrame:
    """A row a cell; one that was not measured has a row without numbers."""
    rows = []
    for label in transfer.rows:
        for column in transfer.columns:
            cell = transfer.cells.get((label, column))
            row: dict[str, Any] = {"trained_on": label, "tested_on": column, "num_utterances": 0}
            if cell:
                interval = cell.interval
                row |= {
                    "heard_in_training": cell.heard,
                    "num_utterances": len(cell.counts),
                    "num_no_reference": cell.num_no_reference,
                    "error_rate": cell.error_rate,
                    "low": interval.low if interval else None,
                    "high": interval.high if interval else None,
                    "mean_of_utterances": cell.mean,
                    "sd_of_utterances": cell.sd,
                }
            rows.append(row)
    return pd.DataFrame(rows)


def samples_table(transfer: Transfer, results: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Of each cell off the diagonal, the utterances at a quarter, the middle and three quarters when sorted from best to
    worst: texts as they are compared, error rate in %.

    Args:
        results: by row label, for the settings of the scores.
    """
    rows = []
    for cell in transfer.cells.values():
        ranked = sorted(
            (rate, one.id, one)
            for one, counts in zip(cell.hypotheses, cell.counts, strict=True)
            if not cell.heard and (rate := counts.error_rate) is not None
        )
        for place in dict.fromkeys(round(share * (len(ranked) - 1)) for share in PLACES if ranked):
            rate, _, one = ranked[place]
            texts = compared_texts(one, **scoring_settings(results[cell.trained_on]))
            rows.append(
                {
                    "trained_on": cell.trained_on,
                    "tested_on": cell.tested_on,
                    "place": f"{place + 1} of {len(ranked)}",
                    "id": one.id,
                    "reference": texts[0].strip(),
                    "hypothesis": texts[1].strip(),
                    "error_rate": round(rate, 2),
                }
            )
    columns = ["trained_on", "tested_on", "place", "id", "reference", "hypothesis", "error_rate"]
    return pd.DataFrame(rows, columns=columns)


def samples_markdown(samples: pd.DataFrame, *, unit: str) -> str:
    """The samples under a heading for each cell; texts as code, so that nothing in them is taken for markup."""
    lines = [
        "# Samples of what was not heard in training",
        "",
        "A quarter, half and three quarters down from best to worst.",
        "",
    ]
    for (trained, tested), group in samples.groupby(["trained_on", "tested_on"], sort=False):
        lines += [f"## Trained on {trained}, tested on {tested}", ""]
        for row in group.itertuples():
            lines += [f"{row.id}, number {row.place}: {unit} {row.error_rate:.1f} %", ""]
            lines += ["```text", f"reference   {row.reference}", f"hypothesis  {row.hypothesis}", "```", ""]
    return "\n".join(lines)


def summary(transfer: Transfer) -> Cells:
    """The matrix: error rates with their intervals, a star where the model heard it in training."""
    rows = []
    for label in transfer.rows:
        cells = [transfer.cells.get((label, column)) for column in transfer.columns]
        rows.append((label, *("not measured" if cell is None else _shown(cell) for cell in cells)))
    title = f"{transfer.unit} % by {transfer.by}, rows: trained on, columns: tested on (* heard in training)"
    return Cells(title, ("trained on", *transfer.columns), tuple(rows), num_names=1)


def _shown(cell: Cell) -> str:
    bounds = f" [{cell.interval.low:.1f}, {cell.interval.high:.1f}]" if cell.interval else ""
    return f"{'* ' if cell.heard else ''}{percent(cell.error_rate)}{bounds}"
