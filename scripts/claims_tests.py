"""The tests that docs/claims.yaml names: each takes runs and says whether they support a claim, with an interval of 95 %."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from claims_runs import Run, paired_counts, pairs, select

from mlsuperb.scoring.boards.published import PublishedRow, published_rows
from mlsuperb.scoring.boards.superb_s import Column, board_named
from mlsuperb.scoring.comparison.bootstrap import Interval, Rate, difference_interval, rate_interval
from mlsuperb.scoring.counts import Counts

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN = "supported", "contradicted", "undecided", "not run"
RATES: dict[str, Rate] = {"cer": "error_rate", "lid_accuracy": "lid_accuracy"}
COLUMNS: dict[str, tuple[str, Rate]] = {  # metric of a board's column -> subset, rate
    "trained_cer": ("trained", "error_rate"),
    "reserved_cer": ("reserved", "error_rate"),
    "trained_lid_accuracy": ("trained", "lid_accuracy"),
}
SHOWN = {"cer": "CER", "lid_accuracy": "LID accuracy"}
TOLERANCE = 2.0  # points around a published score within which a run agrees with it; ours: no paper states one
FEWEST_RUNS = 3  # for an interval over runs
Z95 = 1.959964  # of the normal distribution


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a test: the outcome, the numbers, and the runs that they are from."""

    outcome: str
    text: str = ""
    runs: tuple[Run, ...] = ()


def nothing(text: str = "") -> Verdict:
    """No run that tests it."""
    return Verdict(outcome=NOT_RUN, text=text)


def better(test: Mapping[str, Any], runs: Sequence[Run]) -> Verdict:
    """`first` has the better `metric` than `second`, over the same utterances (paired bootstrap)."""
    found = pairs(runs, test["first"], test["second"])
    if not found:
        return nothing(_missing(test, runs))
    interval = _difference(found, test)
    if interval is None:
        return nothing("the runs have nothing of this kind to compare")
    return Verdict(
        outcome=_sign(interval, wanted=1),
        text=f"{SHOWN[test['metric']]} {shown(interval, signed=True)} points better, {_pairs(found)}",
        runs=_both(found),
    )


def ranking(test: Mapping[str, Any], runs: Sequence[Run]) -> Verdict:
    """Two of `systems` stand in one order under one of `under`, and in the other under another."""
    orders, used = [], []
    for one, other in combinations(test["systems"], 2):
        signs = []
        for frame in test["under"]:
            found = pairs(runs, {**test.get("where", {}), **one, **frame}, {**test.get("where", {}), **other, **frame})
            interval = _difference(found, test) if found else None
            if interval is not None:
                signs.append((frame, interval))
                used += _both(found)
        if len(signs) > 1:
            orders.append((one, other, signs))
    if not orders:
        return nothing("no two of the systems under two of the heads or more")
    outcomes = {frozenset(_sign(interval, wanted=1) for _, interval in signs) for *_, signs in orders}
    turned = any({SUPPORTED, CONTRADICTED} <= signs for signs in outcomes)
    same = all(len(signs) == 1 and UNDECIDED not in signs for signs in outcomes)
    text = "; ".join(
        f"{_named(one)} against {_named(other)}: "
        + ", ".join(f"{shown(interval, signed=True)} under {_named(frame)}" for frame, interval in signs)
        for one, other, signs in orders
    )
    outcome = SUPPORTED if turned else CONTRADICTED if same else UNDECIDED
    return Verdict(
        outcome=outcome, text=f"{SHOWN[test['metric']]}, points better: {text}", runs=tuple(dict.fromkeys(used))
    )


def spread(test: Mapping[str, Any], runs: Sequence[Run]) -> Verdict:
    """The worst group (`language`, or `dataset` of one language) has `times` the error rate of the best, or more."""
    return _each(select(runs, test["runs"]), lambda run: _spread(run, test))


def _spread(run: Run, test: Mapping[str, Any]) -> tuple[str, str] | None:
    groups: dict[str, dict[str, list[Counts]]] = {}
    for one, counts in run.counts(test.get("subset", "trained")):
        outer, inner = ("", one.language) if test["by"] == "language" else (one.language, one.dataset)
        groups.setdefault(outer, {}).setdefault(inner, []).append(counts)
    found = []
    for outer, members in groups.items():
        rates = {name: rate for name, counts in members.items() if (rate := rate_interval(counts)) is not None}
        if len(rates) > 1:
            best, worst = min(rates, key=lambda name: rates[name].value), max(rates, key=lambda name: rates[name].value)
            found.append((difference(rates[best], rates[worst], times=test["times"]), outer, best, worst, rates))
    if not found:
        return None
    interval, outer, best, worst, rates = max(found, key=lambda one: one[0].value)
    where = f"of {outer}, " if outer else ""
    numbers = f"{where}{best} {shown(rates[best])}, {worst} {shown(rates[worst])}"
    return _sign(interval, wanted=1), numbers


def transfer(test: Mapping[str, Any], runs: Sequence[Run]) -> Verdict:
    """Of two languages of the same run's test, `better` has the lower error rate than `worse`."""
    return _each(select(runs, test["runs"]), lambda run: _transfer(run, test["better"], test["worse"]))


def _transfer(run: Run, better: str, worse: str) -> tuple[str, str] | None:
    rates = {
        code: rate_interval([counts for one, counts in run.counts() if one.language == code])
        for code in (better, worse)
    }
    low, high = rates[better], rates[worse]
    if low is None or high is None:
        return None
    return _sign(difference(low, high), wanted=1), f"{better} {shown(low)}, {worse} {shown(high)}"


def published(test: Mapping[str, Any], runs: Sequence[Run]) -> Verdict:
    """Each column of a published row is met within `TOLERANCE` points, on the same release, whole. (Monolingual columns are
    means over runs, whose interval is not taken here: `mlsuperb.commands.leaderboard` shows them.)"""
    found, outcomes, used = [], [], []
    for row in (row for row in published_rows() if row.system == test["system"] and row.title == test["title"]):
        assert row.board is not None
        for column in (column for column in board_named(row.board).columns if column.metric in COLUMNS):
            subset, rate = COLUMNS[column.metric]
            for run in _of_row(runs, row, column):
                interval = rate_interval([counts for _, counts in run.counts(subset)], of=rate)
                if interval is not None and column.name in row.scores:
                    outcomes.append(_within(interval, row.scores[column.name]))
                    found.append(f"{column.title} {row.size} {shown(interval)}, published {row.scores[column.name]:g}")
                    used.append(run)
    if not found:
        return nothing()
    outcome = CONTRADICTED if CONTRADICTED in outcomes else SUPPORTED if set(outcomes) == {SUPPORTED} else UNDECIDED
    return Verdict(outcome=outcome, text="; ".join(found), runs=tuple(dict.fromkeys(used)))


def _of_row(runs: Sequence[Run], row: PublishedRow, column: Column) -> list[Run]:
    wanted = {"track": column.track, "size": row.size, "upstream": row.upstream or "", "adaptation": row.adaptation}
    releases = [(run, run.result["data"].get("release")) for run in select(runs, wanted)]
    return [run for run, release in releases if release and release["whole"] and release["name"] == row.release]


def layers(test: Mapping[str, Any], runs: Sequence[Run]) -> Verdict:
    """The mean weight of a layer in `high` is above that in `low`; both are parts of the depth, from 0 (the first layer) to
    1 (the last). The interval is a bootstrap over runs, languages that is."""
    differences, used = [], []
    for run in select(runs, test["runs"]):
        weights = (run.result.get("featurizer") or {}).get("layer_weights")
        if weights and len(weights) > 3:
            high, low = (_mean_weight(weights, test[name]) for name in ("high", "low"))
            differences.append(100 * (high - low))
            used.append(run)
    if not used:
        return nothing()
    value = float(np.mean(differences))
    if len(differences) < FEWEST_RUNS:
        text = f"{value:+.2f} points of weight a layer in {len(used)} runs; {FEWEST_RUNS} or more make an interval"
        return Verdict(outcome=UNDECIDED, text=text, runs=tuple(used))
    drawn = np.random.default_rng(0).choice(differences, size=(1000, len(differences))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    interval = Interval(value=value, low=float(low), high=float(high))
    text = f"{shown(interval, signed=True)} points of weight a layer, {len(used)} runs"
    return Verdict(outcome=_sign(interval, wanted=1), text=text, runs=tuple(used))


def _mean_weight(weights: Sequence[float], places: Sequence[Sequence[float]]) -> float:
    depth = len(weights) - 1
    chosen = [weight for number, weight in enumerate(weights) if any(a <= number / depth <= b for a, b in places)]
    return float(np.mean(chosen)) if chosen else float("nan")


def clusters(test: Mapping[str, Any], runs: Sequence[Run]) -> Verdict:
    """Languages are told apart by nearest neighbours better at the stage `after` than at `before` (analysis/knn.csv of
    `mlsuperb.commands.analyse`)."""
    return _each(select(runs, test["runs"]), lambda run: _clusters(run.folder / "analysis" / "knn.csv", test))


def _clusters(path: Path, test: Mapping[str, Any]) -> tuple[str, str] | None:
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["stage"]: row for row in csv.DictReader(file)}
    ends = [[stage for stage in rows if stage.startswith(test[place])] for place in ("before", "after")]
    if not all(ends):
        return None
    before, after = (rows[stages[-1]] for stages in ends)
    first, second = (wilson(float(row["accuracy"]), int(row["num_utterances"])) for row in (before, after))
    text = f"{before['stage']} {shown(first)}, {after['stage']} {shown(second)}"
    return _sign(difference(first, second), wanted=1), text


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
    value = f"{interval.value:+.1f}" if signed else f"{interval.value:.1f}"
    return f"{value} [{interval.low:.1f}, {interval.high:.1f}]"


def _each(chosen: Sequence[Run], judge: Callable[[Run], tuple[str, str] | None]) -> Verdict:
    """Of tests that every run answers for itself: supported if all do, contradicted if all contradict."""
    judged = [(run, found) for run in chosen if (found := judge(run)) is not None]
    if not judged:
        return nothing("no run with what this test looks at" if chosen else "")
    outcomes = {outcome for _, (outcome, _) in judged}
    text = "; ".join(f"{text} ({run.name})" if len(judged) > 1 else text for run, (_, text) in judged)
    return Verdict(
        outcome=outcomes.pop() if len(outcomes) == 1 else UNDECIDED, text=text, runs=tuple(run for run, _ in judged)
    )


def _difference(found: Sequence[tuple[Run, Run]], test: Mapping[str, Any]) -> Interval | None:
    """How many points the first is better."""
    first, second = paired_counts(found, subset=test.get("subset", "trained"))
    if test["metric"] == "cer":
        return difference_interval(first, second)
    return difference_interval(second, first, of=RATES[test["metric"]])


def _sign(interval: Interval, *, wanted: int) -> str:
    if not interval.excludes_zero:
        return UNDECIDED
    return SUPPORTED if interval.value * wanted > 0 else CONTRADICTED


def _within(interval: Interval, score: float) -> str:
    low, high = score - TOLERANCE, score + TOLERANCE
    if low <= interval.low and interval.high <= high:
        return SUPPORTED
    return CONTRADICTED if interval.high < low or interval.low > high else UNDECIDED


def _missing(test: Mapping[str, Any], runs: Sequence[Run]) -> str:
    numbers = [len(select(runs, test[side])) for side in ("first", "second")]
    if not any(numbers):
        return ""
    return f"{numbers[0]} runs of the first, {numbers[1]} of the second, but no two alike in all else (data, seed, head, ...)"


def _both(found: Sequence[tuple[Run, Run]]) -> tuple[Run, ...]:
    return tuple(dict.fromkeys(run for pair in found for run in pair))


def _pairs(found: Sequence[tuple[Run, Run]]) -> str:
    return f"{len(found)} pair{'' if len(found) == 1 else 's'} of runs"


def _named(selector: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in selector.values())


KINDS: dict[str, Callable[[Mapping[str, Any], Sequence[Run]], Verdict]] = {
    one.__name__: one for one in (better, ranking, spread, transfer, published, layers, clusters)
}
# kind -> what it needs, beside `says` and `kind`
NEEDS = {
    "better": {"first", "second", "metric"},
    "ranking": {"systems", "under", "metric"},
    "spread": {"runs", "by", "times"},
    "transfer": {"runs", "better", "worse"},
    "published": {"title", "system"},
    "layers": {"runs", "high", "low"},
    "clusters": {"runs", "before", "after"},
}
