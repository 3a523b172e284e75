"""The tests that docs/claims.yaml names: each says whether runs support a claim, with an interval of 95 %.

A test takes all runs and, by name, the settings of its entry in the file.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np
from claims_runs import Run, Selector, lowest, paired_counts, pairs, select

from mlsuperb.scoring.boards.published import PublishedRow, published_rows
from mlsuperb.scoring.boards.superb_s import Column, board_named
from mlsuperb.scoring.comparison.bootstrap import Interval, Rate, difference_interval, rate_interval
from mlsuperb.scoring.counts import Counts

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN = "supported", "contradicted", "undecided", "not run"
COLUMNS: dict[str, tuple[str, Rate]] = {  # metric of a board's column -> subset, rate
    "trained_cer": ("trained", "error_rate"),
    "reserved_cer": ("reserved", "error_rate"),
    "trained_lid_accuracy": ("trained", "lid_accuracy"),
}
SHOWN = {"cer": "CER", "lid_accuracy": "LID accuracy"}
TOLERANCE = 2.0  # points around a published score within which a run agrees with it; ours: no paper states one
FEWEST_RUNS = 3  # for an interval over runs
Z95 = 1.959964  # of the normal distribution
Judged = tuple[str, str]  # outcome, text


@dataclass(frozen=True)
class Verdict:
    """The result of a test: the outcome, the numbers, and the runs that they are from."""

    outcome: str = NOT_RUN
    text: str = ""
    runs: tuple[Run, ...] = ()

    @property
    def named_runs(self) -> str:
        """The names of the runs, and how many of them are not as published."""
        others = sum(not run.result.official for run in self.runs)
        left = f"; {others} of {len(self.runs)} not as published" if others else ""
        return ", ".join(f"`{run.name}`" for run in self.runs) + left


def better(among: Sequence[Run], *, first: Selector, second: Selector, metric: str, subset: str = "trained") -> Verdict:
    """`first` has the better `metric` than `second`, over the same utterances (paired bootstrap)."""
    found = pairs(among, first, second)
    if not found:
        numbers = [len(select(among, side)) for side in (first, second)]
        alike = "but no two alike in all else (data, seed, head, ...)"
        return Verdict(
            text=f"{numbers[0]} runs of the first, {numbers[1]} of the second, {alike}" if any(numbers) else ""
        )
    interval = _difference(found, metric, subset)
    if interval is None:
        return Verdict(text="the runs have nothing of this kind to compare")
    number = f"{len(found)} pair{'' if len(found) == 1 else 's'} of runs"
    text = f"{SHOWN[metric]} {_gain(interval)}, {number}"
    return Verdict(_sign(interval), text, _unique(run for pair in found for run in pair))


def ranking(
    among: Sequence[Run],
    *,
    systems: Sequence[Selector],
    under: Sequence[Selector],
    metric: str,
    subset: str = "trained",
    where: Selector | None = None,
) -> Verdict:
    """Two of `systems` stand in one order under one of `under`, and in the other under another."""
    texts, outcomes, used = [], [], []
    for one, other in combinations(systems, 2):
        intervals = {}
        for frame in under:
            found = pairs(among, {**(where or {}), **one, **frame}, {**(where or {}), **other, **frame})
            if found and (interval := _difference(found, metric, subset)) is not None:
                intervals[_named(frame)] = interval
                used += [run for pair in found for run in pair]
        if len(intervals) > 1:
            outcomes.append({_sign(interval) for interval in intervals.values()})
            numbers = (f"{_gain(interval)} under {frame}" for frame, interval in intervals.items())
            texts.append(f"{_named(one)} against {_named(other)}: {', '.join(numbers)}")
    if not outcomes:
        return Verdict(text="no two of the systems under two of the heads or more")
    outcome = UNDECIDED
    if any({SUPPORTED, CONTRADICTED} <= signs for signs in outcomes):
        outcome = SUPPORTED
    elif all(len(signs) == 1 and UNDECIDED not in signs for signs in outcomes):
        outcome = CONTRADICTED
    return Verdict(outcome, f"{SHOWN[metric]}: {'; '.join(texts)}", _unique(used))


def spread(among: Sequence[Run], *, runs: Selector, by: str, times: float, subset: str = "trained") -> Verdict:
    """The worst group (`language`, or `dataset` of one language) has `times` the error rate of the best, or more."""

    def judged(run: Run) -> Judged | None:
        groups: dict[str, dict[str, list[Counts]]] = {}
        for one, counts in run.counts(subset):
            outer, inner = ("", one.language) if by == "language" else (f"of {one.language}, ", one.dataset)
            groups.setdefault(outer, {}).setdefault(inner, []).append(counts)
        found = []
        for outer, members in groups.items():
            rates = {name: rate for name, counts in members.items() if (rate := rate_interval(counts)) is not None}
            if len(rates) > 1:
                best, *_, worst = sorted(rates, key=lambda name: rates[name].value)
                text = f"{outer}{best} {shown(rates[best])}, {worst} {shown(rates[worst])}"
                found.append((difference(rates[best], rates[worst], times=times), text))
        if not found:
            return None
        interval, text = max(found, key=lambda one: one[0].value)
        return _sign(interval), text

    return _each(select(among, runs), judged)


def transfer(among: Sequence[Run], *, runs: Selector, better: str, worse: str) -> Verdict:
    """Of two languages of the same run's test, `better` has the lower error rate than `worse`."""

    def judged(run: Run) -> Judged | None:
        low, high = (
            rate_interval([counts for one, counts in run.counts() if one.language == code]) for code in (better, worse)
        )
        if low is None or high is None:
            return None
        return _sign(difference(low, high)), f"{better} {shown(low)}, {worse} {shown(high)}"

    return _each(select(among, runs), judged)


def published(among: Sequence[Run], *, title: str, system: str) -> Verdict:
    """Each column of a published row is met within `TOLERANCE` points, on the same release, whole, without deviations; of a
    sweep by the run with the lowest validation loss. (Monolingual columns are means over runs, whose interval is not taken
    here: `mlsuperb leaderboard` shows them.)"""
    texts, outcomes, used = [], [], []
    for row in (row for row in published_rows() if (row.system, row.title) == (system, title)):
        assert row.board is not None
        for column in (column for column in board_named(row.board).columns if column.metric in COLUMNS):
            subset, rate = COLUMNS[column.metric]
            for run in _of_row(among, row, column):
                interval = rate_interval([counts for _, counts in run.counts(subset)], of=rate)
                if interval is not None and column.name in row.scores:
                    outcomes.append(_within(interval, row.scores[column.name]))
                    texts.append(f"{column.title} {row.size} {shown(interval)}, published {row.scores[column.name]:g}")
                    used.append(run)
    if not used:
        return Verdict()
    outcome = CONTRADICTED if CONTRADICTED in outcomes else SUPPORTED if set(outcomes) == {SUPPORTED} else UNDECIDED
    return Verdict(outcome, "; ".join(texts), _unique(used))


def _of_row(among: Sequence[Run], row: PublishedRow, column: Column) -> list[Run]:
    wanted = {"track": column.track, "size": row.size, "upstream": row.upstream or "", "adaptation": row.adaptation}
    found = []
    for run in select(among, wanted):
        release, experiment = run.result.data.release, run.result.benchmark
        if release and release.whole and release.name == row.release and experiment and not experiment.deviations:
            found.append(run)
    return list(lowest(found, ("run", "seed")).values())


def layers(
    among: Sequence[Run], *, runs: Selector, high: Sequence[Sequence[float]], low: Sequence[Sequence[float]]
) -> Verdict:
    """The mean weight of a layer in `high` is above that in `low`; both are parts of the depth, from 0 (the first layer) to
    1 (the last). The interval is a bootstrap over runs, languages that is."""

    def mean(weights: Sequence[float], places: Sequence[Sequence[float]]) -> float:
        depth = len(weights) - 1
        chosen = [weight for number, weight in enumerate(weights) if any(a <= number / depth <= b for a, b in places)]
        return float(np.mean(chosen)) if chosen else float("nan")

    weights = {
        run: (run.result.featurizer and run.result.featurizer.layer_weights) or [] for run in select(among, runs)
    }
    weighed = lowest([run for run, one in weights.items() if len(one) > 3]).values()
    points = {run: 100 * (mean(weights[run], high) - mean(weights[run], low)) for run in weighed}
    if not points:
        return Verdict()
    differences = list(points.values())
    value = float(np.mean(differences))
    if len(points) < FEWEST_RUNS:
        text = f"{value:+.2f} points of weight a layer in {len(points)} runs; {FEWEST_RUNS} or more make an interval"
        return Verdict(UNDECIDED, text, tuple(points))
    drawn = np.random.default_rng(0).choice(differences, size=(1000, len(differences))).mean(axis=1)
    interval = Interval(value=value, low=float(np.quantile(drawn, 0.025)), high=float(np.quantile(drawn, 0.975)))
    text = f"{shown(interval, signed=True)} points of weight a layer, {len(points)} runs"
    return Verdict(_sign(interval), text, tuple(points))


def clusters(among: Sequence[Run], *, runs: Selector, before: str, after: str) -> Verdict:
    """Languages are told apart by nearest neighbours better at the stage `after` than at `before` (analysis/knn.csv of
    `mlsuperb analyse`)."""

    def judged(run: Run) -> Judged | None:
        path = run.folder / "analysis" / "knn.csv"
        if not path.is_file():
            return None
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        ends = [[row for row in rows if row["stage"].startswith(stage)] for stage in (before, after)]
        if not all(ends):
            return None
        last = [stages[-1] for stages in ends]
        first, second = (wilson(float(row["accuracy"]), int(row["num_utterances"])) for row in last)
        return _sign(
            difference(first, second)
        ), f"{last[0]['stage']} {shown(first)}, {last[1]['stage']} {shown(second)}"

    return _each(select(among, runs), judged)


KINDS: Mapping[str, Callable[..., Verdict]] = {
    one.__name__: one for one in (better, ranking, spread, transfer, published, layers, clusters)
}


def settings_of(kind: str) -> dict[str, bool]:
    """The settings of a test of a kind, and whether each is needed."""
    parameters = signature(KINDS[kind]).parameters.values()
    return {one.name: one.default is one.empty for one in parameters if one.kind is one.KEYWORD_ONLY}


def wilson(percent: float, number: int) -> Interval:
    """Of a share of `number` utterances, in % (E. B. Wilson, JASA 22, 1927)."""
    share, z2 = percent / 100, Z95**2
    centre = (share + z2 / (2 * number)) / (1 + z2 / number)
    half = Z95 * sqrt(share * (1 - share) / number + z2 / (4 * number**2)) / (1 + z2 / number)
    return Interval(value=percent, low=100 * (centre - half), high=100 * (centre + half))


def difference(first: Interval, second: Interval, *, times: float = 1.0) -> Interval:
    """`second - times * first` of two independent estimates, from their own intervals (MOVER: G. Y. Zou and A. Donner,
    Statistics in Medicine 27, 2008; of Wilson intervals R. G. Newcombe's method 10, 1998)."""
    value = second.value - times * first.value
    low = value - sqrt((second.value - second.low) ** 2 + (times * (first.high - first.value)) ** 2)
    high = value + sqrt((second.high - second.value) ** 2 + (times * (first.value - first.low)) ** 2)
    return Interval(value=value, low=low, high=high)


def shown(interval: Interval, *, signed: bool = False) -> str:
    """`43.1 [41.0, 45.2]`."""
    value, low, high = (round(one, 1) + 0.0 for one in (interval.value, interval.low, interval.high))  # no -0.0
    return f"{value:+.1f} [{low:.1f}, {high:.1f}]" if signed else f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _gain(interval: Interval) -> str:
    """`3.0 [2.6, 3.5] points worse`, of an interval of points better."""
    if interval.value >= 0:
        return f"{shown(interval)} points better"
    turned = Interval(value=-interval.value, low=-interval.high, high=-interval.low)
    return f"{shown(turned)} points worse"


def _each(chosen: Sequence[Run], judge: Callable[[Run], Judged | None]) -> Verdict:
    """Of tests that every run answers for itself, of a sweep that with the lowest validation loss: supported if all do,
    contradicted if all contradict."""
    every = {run: found for run in chosen if (found := judge(run)) is not None}
    if not every:
        return Verdict(text="no run with what this test looks at" if chosen else "")
    kept = set(lowest(list(every)).values())
    judged = {run: found for run, found in every.items() if run in kept}
    outcomes = {outcome for outcome, _ in judged.values()}
    text = "; ".join(f"{text} ({run.name})" if len(judged) > 1 else text for run, (_, text) in judged.items())
    return Verdict(outcomes.pop() if len(outcomes) == 1 else UNDECIDED, text, tuple(judged))


def _difference(found: Sequence[tuple[Run, Run]], metric: str, subset: str) -> Interval | None:
    """How many points the first is better."""
    first, second = paired_counts(found, subset=subset)
    return (
        difference_interval(first, second) if metric == "cer" else difference_interval(second, first, of="lid_accuracy")
    )


def _sign(interval: Interval) -> str:
    if not interval.excludes_zero:
        return UNDECIDED
    return SUPPORTED if interval.value > 0 else CONTRADICTED


def _within(interval: Interval, score: float) -> str:
    low, high = score - TOLERANCE, score + TOLERANCE
    if low <= interval.low and interval.high <= high:
        return SUPPORTED
    return CONTRADICTED if interval.high < low or interval.low > high else UNDECIDED


def _unique(runs: Iterable[Run]) -> tuple[Run, ...]:
    return tuple(dict.fromkeys(runs))


def _named(selector: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in selector.values())
