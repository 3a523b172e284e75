"""How alike two languages time their phones, beside what one gained from the speech of the other.

arXiv 2410.13445, section 3.2.1, supposes that a length adaptor which is trained on a related language learns prosody such as
the durations of its phones, and does not measure it. Durations are those of phone marks: of a forced aligner (TextGrids of the
Montreal Forced Aligner, for example) or made by hand. CTC does not give them: its tokens are single frames anywhere in a phone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from mlsuperb.analysis.chart import GREY, Chart, colours, new_figure
from mlsuperb.analysis.expansion import over_seeds, paired_with_first
from mlsuperb.analysis.influences import rank_correlation
from mlsuperb.scoring.comparison.bootstrap import Interval, difference_interval
from mlsuperb.scoring.counts import grouped, total
from mlsuperb.scoring.table import ABSENT, ARROWS, Cells, percent
from mlsuperb.units.phones import SILENCES, Phones

FEWEST = 20  # tokens of a phone in either language, for it to be compared by itself
NOTE = (
    "One point per pivot and target: how far the durations of their phones lie apart, and the change of the target's error rate, "
    "in % of what it was before, after a training by speech of the pivot alone. If similar durations were what is handed on, "
    "points would rise from the lower left to the upper right."
)
Durations = dict[str, np.ndarray]  # phone -> natural logarithms of the durations of its tokens in seconds


@dataclass(frozen=True, kw_only=True)
class DurationPair:
    """A pivot and a target.

    Args:
        mean_ms: durations of a phone in the pivot and in the target, geometric means in milliseconds.
        distance: between the durations of all phones of either, in % (`distance`).
        shared_distance: the same phone by phone, over the `num_shared` phones that both have; None without one.
        floor: distance between two halves of the target's own utterances: what chance alone makes of it; None of a single one.
        change: of the target's error rate, from the base to the model trained on the pivot, in points, with its interval.
        base_rate: error rate of the target by the base, in %.
    """

    pivot: str
    target: str
    mean_ms: tuple[float, float]
    distance: float
    shared_distance: float | None
    num_shared: int
    floor: float | None
    change: Interval | None = None
    base_rate: float | None = None

    @property
    def relative(self) -> float | None:
        """The change in % of the base's rate; below 0 where the target gained."""
        return 100 * self.change.value / self.base_rate if self.change and self.base_rate else None


def log_durations(phones: Phones, *, language: str) -> Durations:
    """Of each phone but silence.

    Raises:
        ValueError: there is none.
    """
    found: dict[str, list[float]] = {}
    for intervals in phones.values():
        for one in intervals:
            if one.phone not in SILENCES:
                found.setdefault(one.phone, []).append(one.end_s - one.start_s)
    if not found:
        raise ValueError(f"the phone marks of {language} hold silence alone: there are no durations to compare")
    return {phone: np.log(values) for phone, values in found.items()}


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """By how many per cent durations of one are longer or shorter than those of the same rank in the other, on (geometric)
    average: exp(W) - 1, where W is the Wasserstein distance between the logarithms."""
    return 100 * (exp(wasserstein_distance(first, second)) - 1)


def shared_distance(first: Durations, second: Durations) -> tuple[float | None, int]:
    """The distance phone by phone, and over how many: a mean of W over the phones that have `FEWEST` tokens in both, weighted by
    the smaller of their two shares."""
    shared = [phone for phone in first if min(len(first[phone]), len(second.get(phone, ()))) >= FEWEST]
    if not shared:
        return None, 0
    shares = [[len(of[phone]) / sum(map(len, of.values())) for phone in shared] for of in (first, second)]
    between = [wasserstein_distance(first[phone], second[phone]) for phone in shared]
    return 100 * (exp(np.average(between, weights=np.min(shares, axis=0))) - 1), len(shared)


def duration_pairs(
    marks: Mapping[str, Phones], pivots: Collection[str], *, targets: Collection[str] | None = None
) -> list[DurationPair]:
    """Every pivot with every target but itself.

    Args:
        marks: language -> its phones.
        targets: (all that have marks)

    Raises:
        ValueError: a language without marks, or marks without phones.
    """
    wanted = list(targets if targets is not None else marks)
    if missing := [one for one in dict.fromkeys([*pivots, *wanted]) if one not in marks]:
        raise ValueError(
            f"no phone marks of {', '.join(missing)}; there are those of {', '.join(marks)}. Add --phones {missing[0]}=FILE, "
            "or leave the language out"
        )
    of = {language: log_durations(marks[language], language=language) for language in {*pivots, *wanted}}
    floors = {target: _floor(marks[target]) for target in wanted}
    return [
        _pair(pivot, target, of[pivot], of[target], floor=floors[target])
        for pivot in pivots
        for target in wanted
        if target != pivot
    ]


def _pair(pivot: str, target: str, first: Durations, second: Durations, *, floor: float | None) -> DurationPair:
    pooled = [np.concatenate(list(one.values())) for one in (first, second)]
    apart, num = shared_distance(first, second)
    return DurationPair(
        pivot=pivot,
        target=target,
        mean_ms=(1000 * exp(pooled[0].mean()), 1000 * exp(pooled[1].mean())),
        distance=distance(*pooled),
        shared_distance=apart,
        num_shared=num,
        floor=floor,
    )


def _floor(phones: Phones) -> float | None:
    """Distance between every other utterance and the rest."""
    ids = sorted(phones)
    halves = [{one: phones[one] for one in ids[start::2]} for start in (0, 1)]
    kept = [
        [one.end_s - one.start_s for rows in half.values() for one in rows if one.phone not in SILENCES]
        for half in halves
    ]
    return distance(*map(np.log, kept)) if all(kept) else None


def with_gains(
    pairs: Sequence[DurationPair],
    runs: Mapping[str, Sequence[Path]],
    *,
    base: Path,
    split: str,
    rate: str | None = None,
) -> list[DurationPair]:
    """The pairs whose target was tested, with the change of its error rate; `runs`: pivot -> runs trained on it, one per seed;
    `rate`: see `paired_with_first`.

    Raises:
        ValueError: a run has not finished or cannot be compared with the base, or no target was tested.
    """
    paired = paired_with_first({"base": [base], **runs}, split=split, rate=rate)
    counted = {pivot: grouped(over_seeds(seeds), lambda pair: pair.first.language) for pivot, seeds in paired.items()}
    found = []
    for one in pairs:
        tested = counted[one.pivot].get(one.target)
        if tested:
            before, after = ([getattr(pair, f"{which}_counts") for pair in tested] for which in ("first", "second"))
            change, rate_before = difference_interval(before, after), total(before).error_rate
            found.append(replace(one, change=change, base_rate=rate_before))
    if not found:
        raise ValueError(
            f"none of {', '.join(dict.fromkeys(one.target for one in pairs))} was tested by {base}: give phone marks of the "
            "languages that it was tested on"
        )
    return found


def duration_table(pairs: Sequence[DurationPair], *, unit: str | None = None) -> Cells:
    """One row per pair; with `unit`, the name of the error rate, what the targets gained."""
    down = ARROWS["lower"]
    columns = [
        "pivot",
        "target",
        "pivot ms",
        "target ms",
        f"distance % {down}",
        f"phone by phone % {down}",
        "shared phones",
        "halves of target %",
    ]
    columns += [f"{unit} before %", f"change [95 %] {down}", f"relative % {down}"] if unit else []
    rows = []
    for one in pairs:
        row = [one.pivot, one.target, *(f"{value:.0f}" for value in one.mean_ms), percent(one.distance)]
        row += [percent(one.shared_distance), str(one.num_shared), percent(one.floor)]
        if unit:
            change = one.change.as_change() if one.change else ABSENT
            row += [percent(one.base_rate), change, percent(one.relative)]
        rows.append(tuple(row))
    return Cells("Durations of phones, pivot and target", tuple(columns), tuple(rows), num_names=2)


def duration_remarks(pairs: Sequence[DurationPair]) -> list[str]:
    """How distance and gain go together, by rank, where there are enough pairs."""
    remarks = [
        f"distance: mean ratio of durations of the same rank; phone by phone: the same for each phone with {FEWEST} "
        "tokens or more in both; halves of target: distance between two halves of the target's utterances"
    ]
    for name, title in (("distance", "distance"), ("shared_distance", "distance of shared phones")):
        known = [(getattr(one, name), one.relative) for one in pairs if None not in (getattr(one, name), one.relative)]
        if len(known) < 4:
            continue
        found = rank_correlation(*(pd.Series(values, dtype=float) for values in zip(*known, strict=True)))
        if found:
            # of ranks that all agree the formula has no spread, however few they are
            bounds = "" if found.low == found.high else f" [{found.low:+.2f}, {found.high:+.2f}]"
            remarks.append(
                f"{title} and relative change: Spearman's rho {found.rho:+.2f}{bounds} over {found.num} pairs (positive: similar "
                "durations, larger gain or smaller loss); pairs that share a language are not independent"
            )
    return remarks


def duration_chart(pairs: Sequence[DurationPair], *, name: str, unit: str) -> Chart | None:
    """Relative change of the error rate over the distance of durations; None without gains."""
    rows = [
        {"pivot": one.pivot, "target": one.target, "distance": one.distance, "relative": one.relative,
         "low": 100 * one.change.low / one.base_rate, "high": 100 * one.change.high / one.base_rate}
        for one in pairs
        if one.change and one.base_rate
    ]  # fmt: skip
    if not rows:
        return None
    figure, (axis,) = new_figure(height_in=4.0)
    axis.axhline(0, color=GREY, linewidth=0.8)
    shades = colours(list(dict.fromkeys(str(row["target"]) for row in rows)))
    for row in rows:
        x, y, low, high = (float(str(row[key])) for key in ("distance", "relative", "low", "high"))
        axis.errorbar(x, y, yerr=[[y - low], [high - y]], fmt="o", color=shades[str(row["target"])], capsize=3)
        axis.annotate(
            f"{row['pivot']} to {row['target']}", (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8
        )
    axis.set(xlabel="distance of durations, %", ylabel=f"change of the target's {unit}, % of it (down: gained)")
    return Chart(
        name=name,
        title="Similar durations and what the target gained",
        note=NOTE,
        figure=figure,
        data=pd.DataFrame(rows),
    )
