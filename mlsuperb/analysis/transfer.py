"""How well a model that heard one language (or dataset) reads another: cells, matrix, bars, samples.

Section 3.3 of "Parameter-Efficient Fine-Tuning and Layer Analysis of Self-Supervised Speech Models" (ENS Paris-Saclay, 2025)
shows the mean and the standard deviation of the utterances' CER; the rate over all characters stands beside them here.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mlsuperb.analysis.naming import ScoredRun, pairs_of
from mlsuperb.scoring.comparison.bootstrap import Interval, rate_interval
from mlsuperb.scoring.counts import Counts, total
from mlsuperb.scoring.result import same_scoring, scoring_settings
from mlsuperb.scoring.utterances import utterance_counts
from mlsuperb.types import Hypothesis

By = Literal["language", "dataset"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trained run: its own test and its evaluations on other data.

    Args:
        label: of the row.
        heard: languages (datasets) of its training.
    """

    label: str
    heard: frozenset[str]
    tests: Sequence[ScoredRun]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run on one language (dataset).

    Args:
        counts: of each utterance, beside `hypotheses`.
        interval: of the rate over all characters; None for a single utterance.
        mean, sd: of the utterances' error rates; None without a reference (`sd` also with one).
        num_no_reference: utterances without a reference text, which have no rate of their own.
    """

    trained_on: str
    tested_on: str
    heard: bool
    hypotheses: Sequence[Hypothesis]
    counts: Sequence[Counts]
    error_rate: float | None
    interval: Interval | None
    mean: float | None
    sd: float | None
    num_no_reference: int


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The cells that were measured, row by row, and what the reader should know.

    Args:
        unit: `CER` or `PER`.
        empty: (trained on, tested on) of cells that no result has.
        remarks: on results that were not needed.
    """

    by: By
    unit: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]
    empty: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]


def name_of(one: Hypothesis, *, by: By) -> str:
    """The column that an utterance belongs to."""
    return one.language if by == "language" else one.dataset


def heard_in(result: Mapping[str, Any], *, by: By, split: str) -> frozenset[str]:
    """What a run was trained on: what it was tested on, as a corpus filters both alike, but for `data.train_datasets`."""
    datasets = result["config"]["data"].get("train_datasets")
    if by == "dataset" and datasets:
        return frozenset(datasets)
    return frozenset(pair[by == "dataset"] for pair in pairs_of(result, split=split))


def measure(rows: Sequence[Row], *, by: By) -> Transfer:
    """Score every cell.

    Args:
        rows: of each, the first test is the run's own; an evaluation that was scored in another way is left out, with a
            remark.

    Raises:
        ValueError: runs that must not share a table: another task, normaliser, scorer or decoder, real and synthetic data,
            no text, or other utterances in a column.
    """
    _check(rows)
    found, remarks = _collect(rows, by=by)
    columns = sorted({column for _, column in found})
    for column in columns:
        tested = [one for (_, other), one in found.items() if other == column]
        for other_test in tested[1:]:
            _same_utterances(tested[0], other_test, column)
    heard = {row.label: row.heard for row in rows}
    # the languages that rows were trained on come first, in the order of the rows: the diagonal is a diagonal
    trained = [column for row in rows for column in sorted(row.heard) if column in columns]
    ordered = tuple(dict.fromkeys([*trained, *columns]))
    task = rows[0].tests[0].result["task"]
    cells = {
        (label, column): _cell(label, column, utterances, heard=column in heard[label], result=test.result)
        for (label, column), (test, utterances) in found.items()
    }
    return Transfer(
        by=by,
        unit="PER" if task["units"] == "phoneme" else "CER",
        rows=tuple(row.label for row in rows),
        columns=ordered,
        cells=cells,
        empty=tuple((row.label, column) for row in rows for column in ordered if (row.label, column) not in cells),
        remarks=tuple(remarks),
    )


def _collect(
    rows: Sequence[Row], *, by: By
) -> tuple[dict[tuple[str, str], tuple[ScoredRun, list[Hypothesis]]], list[str]]:
    """The test and the utterances of every cell that was measured, and what was left out."""
    found: dict[tuple[str, str], tuple[ScoredRun, list[Hypothesis]]] = {}
    remarks = []
    for row in rows:
        for test in row.tests:
            if reasons := _differences(row.tests[0], test):
                remarks.append(f"not shown: {test.place} ({'; '.join(reasons)})")
                continue
            for column in sorted({name_of(one, by=by) for one in test.hypotheses}):
                utterances = [one for one in test.hypotheses if name_of(one, by=by) == column]
                key = (row.label, column)
                if key not in found:
                    found[key] = (test, utterances)
                    continue
                _same_utterances(found[key], (test, utterances), column)
                remarks.append(
                    f"{row.label} on {column} was measured twice; shown is {found[key][0].place}, not {test.place}"
                )
    return found, remarks


def _check(rows: Sequence[Row]) -> None:
    first = rows[0].tests[0]
    for row in rows:
        own = row.tests[0]
        if own.result["task"]["name"] == "lid":
            raise ValueError(
                f"{own.place} is of task lid and has no text: transfer is shown as error rates of transcripts, of the tasks "
                "asr and asr_lid"
            )
        if reasons := _differences(first, own):
            raise ValueError(
                f"{first.place} and {own.place} cannot stand in one matrix: {'; '.join(reasons)}. Give runs that were tested "
                "in the same way"
            )


def _differences(first: ScoredRun, second: ScoredRun) -> list[str]:
    reasons = same_scoring(first.result, second.result)
    if first.result["config"].get("decoding") != second.result["config"].get("decoding"):
        reasons.append("the decoder differs")
    return reasons


def _same_utterances(
    first: tuple[ScoredRun, Sequence[Hypothesis]], second: tuple[ScoredRun, Sequence[Hypothesis]], column: str
) -> None:
    spoken = [{(one.split, one.id, one.reference) for one in utterances} for _, utterances in (first, second)]
    if spoken[0] != spoken[1]:
        raise ValueError(
            f"{first[0].place} and {second[0].place} were tested on other utterances of {column} ({len(spoken[0]):,} and "
            f"{len(spoken[1]):,}, {len(spoken[0] & spoken[1]):,} in both), so that their error rates cannot be compared; "
            "evaluate both on the same data with mlsuperb evaluate"
        )


def _cell(label: str, column: str, utterances: list[Hypothesis], *, heard: bool, result: Mapping[str, Any]) -> Cell:
    counts = utterance_counts(utterances, **scoring_settings(result))
    rates = [rate for one in counts if (rate := one.error_rate) is not None]
    return Cell(
        trained_on=label,
        tested_on=column,
        heard=heard,
        hypotheses=utterances,
        counts=counts,
        error_rate=total(counts).error_rate,
        interval=rate_interval(counts),
        mean=statistics.fmean(rates) if rates else None,
        sd=statistics.stdev(rates) if len(rates) > 1 else None,
        num_no_reference=len(counts) - len(rates),
    )
