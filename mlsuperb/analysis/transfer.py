"""Transfer: error rates of models trained on one language (or dataset) and tested on another.

Section 3.3 of "Parameter-Efficient Fine-Tuning and Layer Analysis of Self-Supervised Speech Models" (ENS Paris-Saclay, 2025)
shows the mean and the standard deviation of the utterances' CER; the rate over all characters stands beside them here.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mlsuperb.analysis.chart import Outcome
from mlsuperb.analysis.runs import LoadedRun, load_run, pairs_of, run_labels
from mlsuperb.analysis.transfer_charts import By, bars_chart, matrix_chart
from mlsuperb.runs.store import EVALUATIONS, RESULT_FILE
from mlsuperb.scoring.comparison.bootstrap import rate_interval
from mlsuperb.scoring.comparison.comparable import same_scoring
from mlsuperb.scoring.counts import Counts, total
from mlsuperb.scoring.escaping import code_block, csv, markdown
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.scoring.table import Cells, percent
from mlsuperb.scoring.utterances import compared_texts
from mlsuperb.types import Hypothesis

PLACES = (0.25, 0.5, 0.75)  # of the sample utterances, from best to worst


@dataclass(frozen=True)
class Cell:
    """One run on one language (dataset): the test, and its utterances with their counts."""

    trained_on: str
    tested_on: str
    seen: bool
    test: LoadedRun
    utterances: Sequence[tuple[Hypothesis, Counts]]

    @property
    def numbers(self) -> dict[str, Any]:
        """Rate over all units with its interval, mean and standard deviation of the utterances' own rates, in %. Utterances
        without a reference text have no rate of their own."""
        counts = [count for _, count in self.utterances]
        rates = [rate for one in counts if (rate := one.error_rate) is not None]
        interval = rate_interval(counts)
        return {
            "in_training": self.seen,
            "num_utterances": len(counts),
            "num_no_reference": len(counts) - len(rates),
            "error_rate": total(counts).error_rate,
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
            "mean_of_utterances": statistics.fmean(rates) if rates else None,
            "sd_of_utterances": statistics.stdev(rates) if len(rates) > 1 else None,
        }

    def same_utterances(self, other: Cell) -> None:
        """Raise `ValueError` if the two tests have other utterances."""
        mine, others = ({(one.split, one.id, one.reference) for one, _ in cell.utterances} for cell in (self, other))
        if mine != others:
            raise ValueError(
                f"{self.test.folder} and {other.test.folder} were tested on other utterances of {self.tested_on} "
                f"({len(mine):,} and {len(others):,}, {len(mine & others):,} in both), so their error rates cannot be "
                "compared; evaluate both on the same data with mlsuperb evaluate"
            )


def transfer(runs: Mapping[Path, BenchmarkResult], *, by: By = "language", split: str = "test") -> Outcome:
    """The matrix of what runs were trained on and what they were tested on, with their evaluations.

    Raises:
        ValueError: runs that must not share a table: another task, normaliser, scorer or decoder, real and synthetic data,
            no text, or other utterances in a column.
    """
    own = [load_run(run, split=split, result=result) for run, result in runs.items()]
    _check(own)
    seen = [_trained_on(one.result, by=by, split=split) for one in own]
    labels = run_labels([one.result for one in own], subjects=["+".join(sorted(names)) for names in seen])
    cells, remarks = _cells(dict(zip(labels, own, strict=True)), seen, by=by)
    # what was trained on comes first, in the order of the rows, so that the diagonal is a diagonal
    tested = sorted({column for _, column in cells})
    trained = [column for names in seen for column in sorted(names) if column in tested]
    columns = list(dict.fromkeys([*trained, *tested]))
    table, unit = _table(labels, columns, cells), own[0].result.task.unit_name
    empty = table[table["num_utterances"] == 0]
    if len(empty):
        gaps = ", ".join(empty["trained_on"] + " on " + empty["tested_on"])
        remarks.append(f"not measured: {gaps}; run mlsuperb evaluate RUN data=... to fill these cells")
    samples = _samples(cells.values())
    return Outcome(
        charts=[matrix_chart(table, by=by, unit=unit), bars_chart(table, by=by, unit=unit)],
        table=_summary(table, by=by, unit=unit),
        texts={
            "transfer_samples.csv": csv(samples),
            "transfer_samples.md": _samples_markdown(samples, unit=unit),
        },
        remarks=remarks,
        synthetic=own[0].result.synthetic,
    )


def _trained_on(result: BenchmarkResult, *, by: By, split: str) -> frozenset[str]:
    """What a run was trained on. Older results do not say it: what was tested then, as a corpus filters both alike, but for
    `data.train_datasets`."""
    recorded = result.data.languages if by == "language" else (result.data.model_extra or {}).get("datasets", {})
    if recorded.get("train"):
        return frozenset(recorded["train"])
    datasets = result.config["data"].get("train_datasets")
    if by == "dataset" and datasets:
        return frozenset(datasets)
    return frozenset(pair[by == "dataset"] for pair in pairs_of(result, split=split))


def _check(runs: Sequence[LoadedRun]) -> None:
    for own in runs:
        if not own.result.task.has_text:
            raise ValueError(
                f"{own.folder} is of task {own.result.task.name} and has no text: transfer compares error rates of "
                "transcripts; give runs of a task that transcribes"
            )
        if reasons := _differences(runs[0], own):
            raise ValueError(
                f"{runs[0].folder} and {own.folder} cannot stand in one matrix: {'; '.join(reasons)}. Give runs that were "
                "tested in the same way"
            )


def _differences(first: LoadedRun, second: LoadedRun) -> list[str]:
    decoders = [one.result.config.get("decoding") for one in (first, second)]
    return same_scoring(first.result, second.result) + ["the decoder differs"] * (decoders[0] != decoders[1])


def _cells(
    runs: Mapping[str, LoadedRun], seen: Sequence[frozenset[str]], *, by: By
) -> tuple[dict[tuple[str, str], Cell], list[str]]:
    """Every cell that was measured, by label and column, and remarks on the tests that were left out."""
    cells: dict[tuple[str, str], Cell] = {}
    in_column: dict[str, Cell] = {}
    remarks = []
    for (label, own), names in zip(runs.items(), seen, strict=True):
        evaluated = (path.parent for path in sorted(own.folder.glob(f"{EVALUATIONS}/*/{RESULT_FILE}")))
        for test in [own, *(load_run(folder, split=own.split) for folder in evaluated)]:
            if reasons := _differences(own, test):
                remarks.append(f"not shown: {test.folder} ({'; '.join(reasons)})")
                continue
            for column, utterances in _columns(test, by=by).items():
                cell = Cell(label, column, seen=column in names, test=test, utterances=utterances)
                in_column.setdefault(column, cell).same_utterances(cell)
                there = cells.setdefault((label, column), cell)
                if there is not cell:
                    shown, other = there.test.folder, test.folder
                    remarks.append(f"{label} on {column} was measured twice; the figure shows {shown}, not {other}")
    return cells, remarks


def _columns(test: LoadedRun, *, by: By) -> dict[str, list[tuple[Hypothesis, Counts]]]:
    """The utterances of each language (dataset), with their counts."""
    groups: dict[str, list[tuple[Hypothesis, Counts]]] = {}
    for one, count in zip(test.hypotheses, test.counts, strict=True):
        groups.setdefault(getattr(one, by), []).append((one, count))
    return dict(sorted(groups.items()))


def _table(labels: Sequence[str], columns: Sequence[str], cells: Mapping[tuple[str, str], Cell]) -> pd.DataFrame:
    """One row per cell; a cell that was not measured has no numbers."""
    return pd.DataFrame(
        {"trained_on": label, "tested_on": column, "num_utterances": 0, **(cell.numbers if cell else {})}
        for label in labels
        for column in columns
        for cell in [cells.get((label, column))]
    )


def _samples(cells: Iterable[Cell]) -> pd.DataFrame:
    """The utterances at a quarter, the middle and three quarters from best to worst, of each cell off the diagonal: texts as
    they are compared, error rate in %."""
    rows = []
    for cell in cells:
        ranked = sorted(
            (rate, one.id, one)
            for one, count in cell.utterances
            if not cell.seen and (rate := count.error_rate) is not None
        )
        for place in dict.fromkeys(round(share * (len(ranked) - 1)) for share in PLACES if ranked):
            rate, name, one = ranked[place]
            texts = (text.strip() for text in compared_texts(one, cell.test.result.facts, cell.test.language_tokens))
            where = (cell.trained_on, cell.tested_on, f"{place + 1} of {len(ranked)}")
            rows.append((*where, name, *texts, round(rate, 2)))
    columns = ["trained_on", "tested_on", "place", "id", "reference", "hypothesis", "error_rate"]
    return pd.DataFrame(rows, columns=columns)


def _samples_markdown(samples: pd.DataFrame, *, unit: str) -> str:
    """The samples under a heading for each cell; texts as code, so that nothing in them is taken for markup."""
    lines = ["# Samples of what was not in the training data", ""]
    lines += ["A quarter, half and three quarters of the way from best to worst.", ""]
    for (trained, tested), group in samples.groupby(["trained_on", "tested_on"], sort=False):
        lines += [f"## Trained on {markdown(str(trained))}, tested on {markdown(str(tested))}", ""]
        for row in group.itertuples():
            lines += [f"{markdown(str(row.id))}, number {row.place}: {unit} {row.error_rate:.1f} %", ""]
            lines += [code_block(f"reference   {row.reference}\nhypothesis  {row.hypothesis}"), ""]
    return "\n".join(lines)


def _summary(table: pd.DataFrame, *, by: By, unit: str) -> Cells:
    """The matrix: error rates with their intervals, a star where the row was trained on the column."""
    title = f"{unit} % by {by}, rows: trained on, columns: tested on (* in the training data)"
    shown = table.assign(text=[_shown(row) for row in table.to_dict("records")])
    rows = tuple((str(label), *group["text"]) for label, group in shown.groupby("trained_on", sort=False))
    return Cells(title, ("trained on", *table["tested_on"].unique()), rows, num_names=1)


def _shown(row: Mapping[Any, Any]) -> str:
    if not row["num_utterances"]:
        return "not measured"
    bounds = f" [{row['low']:.1f}, {row['high']:.1f}]" if pd.notna(row["low"]) else ""
    return f"{'* ' if row['in_training'] else ''}{percent(row['error_rate'])}{bounds}"
