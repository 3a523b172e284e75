"""What errors go with: error rate against a fact of the utterances, a figure and a rank correlation for each."""

from __future__ import annotations

from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
import pandas as pd

from mlsuperb.analysis.chart import Chart, new_figure
from mlsuperb.analysis.utterance_facts import BANDWIDTH_TEXT, SNR_TEXT

NUM_DRAWN = 1000  # points; the means are taken over all utterances
NUM_BINS = 10
COLOUR, LINE = "#7f9ec4", "#c2410c"
FACTS = {  # column -> name, axis, definition, with {units} for those of the task
    "duration_s": ("duration", "duration (s)", "length of the utterance"),
    "snr_db": ("signal-to-noise ratio", "signal-to-noise ratio (dB)", SNR_TEXT),
    "bandwidth_hz": ("bandwidth", "bandwidth (Hz)", BANDWIDTH_TEXT),
    "units_per_s": (
        "speaking rate",
        "reference {units} per second",
        "reference {units}, without spaces, per second",
    ),
    "unseen_share": (
        "unseen {units}",
        "share of {units} unseen in training",
        "share of the reference's {units}, without spaces, that are not in the model's vocabulary (tokens.txt)",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation, with a 95 % interval for independent utterances."""

    rho: float
    low: float
    high: float
    num: int


@dataclass(frozen=True, kw_only=True)
class Influence:
    """`overall`: over all utterances; `within`: with ranks taken inside each language, so that differences between
    languages play no part. None, with `reason`, where there are too few numbers."""

    column: str
    name: str
    definition: str
    overall: Correlation | None
    within: Correlation | None
    reason: str
    chart: Chart | None


def influences(table: pd.DataFrame, *, rate: str, unit: str = "character") -> list[Influence]:
    """One for each of `FACTS`. `table`: of `utterance_facts`; `rate`: what `score` is called (`CER %`); `unit`: of the task."""
    return [_influence(table, column, rate=rate, unit=unit) for column in FACTS]


def _texts(column: str, unit: str) -> list[str]:
    """Name, axis and definition of a fact; only among characters are there spaces."""
    named = (text.replace("{units}", f"{unit}s") for text in FACTS[column])
    return [text if unit == "character" else text.replace(", without spaces,", "") for text in named]


def _influence(table: pd.DataFrame, column: str, *, rate: str, unit: str) -> Influence:
    name, _, definition = _texts(column, unit)
    known = table[table[column].notna() & table["score"].notna()]
    reason = ""
    if len(known) < 4:
        reason = f"only {len(known)} utterances have both numbers, at least 4 are needed"
    elif known[column].nunique() < 2:
        reason = f"it is the same for all utterances ({known[column].iloc[0]:g})"
    elif known["score"].nunique() < 2:
        reason = "all utterances have the same error rate"
    return Influence(
        column=column,
        name=name,
        definition=definition,
        overall=None if reason else rank_correlation(known[column], known["score"]),
        within=None if reason else _within(known, column),
        reason=reason,
        chart=None if reason else _chart(known, column, rate=rate, unit=unit),
    )


def rank_correlation(first: pd.Series, second: pd.Series, *, num_means: int = 1) -> Correlation | None:
    """Spearman's, ties at their mean rank; interval by Fisher's transformation with the standard error of Bonett and Wright
    (Psychometrika 65, 2000). None where one of them never changes or there are too few.

    Args:
        num_means: number of means subtracted from the numbers, each of which removes a degree of freedom: a partial correlation
            given k variables has n - k - 3 in place of n - 3 (Fisher, Metron 3, 1924), here k = `num_means` - 1.
    """
    effective, num = len(first) - num_means - 2, len(first)
    if effective < 1 or min(first.nunique(), second.nunique()) < 2:
        return None
    rho = float(np.clip(np.corrcoef(first.rank(), second.rank())[0, 1], -1, 1))
    if abs(rho) > 1 - 1e-9:
        return Correlation(rho=rho, low=rho, high=rho, num=num)
    error = 1.96 * sqrt((1 + rho**2 / 2) / effective)
    return Correlation(rho=rho, low=tanh(atanh(rho) - error), high=tanh(atanh(rho) + error), num=num)


def _within(known: pd.DataFrame, column: str) -> Correlation | None:
    """Ranks inside each language, as shares of its size."""
    groups = known.groupby("language")[[column, "score"]]
    kept = known[known.groupby("language")["id"].transform("size") > 1]
    if kept["language"].nunique() < 2:
        return None  # the same as overall
    ranks = groups.rank(pct=True).loc[kept.index]
    centred = ranks - ranks.groupby(kept["language"]).transform("mean")
    return rank_correlation(centred[column], centred["score"], num_means=kept["language"].nunique())


def _chart(known: pd.DataFrame, column: str, *, rate: str, unit: str) -> Chart:
    name, label, definition = _texts(column, unit)
    drawn = known if len(known) <= NUM_DRAWN else known.sample(NUM_DRAWN, random_state=0)
    figure, (axes,) = new_figure(width_in=4.6, height_in=3.0)
    top = max(100.0, float(np.percentile(known["score"], 98)))
    if not rate.startswith("language"):
        axes.scatter(
            drawn[column], drawn["score"], s=9, alpha=0.5, color=COLOUR, linewidths=0, rasterized=len(drawn) > 300
        )
    bins = binned(known, column)
    axes.plot(bins["middle"], bins["rate"], color=LINE, marker="o", markersize=4, linewidth=1.6)
    axes.set(xlabel=label, ylabel=rate, ylim=(0, 1.04 * top))
    outside = int((drawn["score"] > 1.04 * top).sum())
    note = (
        f"{name.capitalize()}: {definition}. Line: all errors over all reference units, for each tenth of the "
        "utterances (for fewer and larger parts where many have the same value)."
    )
    if len(drawn) < len(known):
        note += f" {len(drawn):,} of {len(known):,} utterances are drawn."
    if outside:
        note += f" {outside} point{' lies' if outside == 1 else 's lie'} above the frame."
    return Chart(
        name=f"error_by_{column}",
        title=f"Error rate by {name}",
        note=note,
        figure=figure,
        data=known[["split", "id", "language", "dataset", column, "score", "errors", "length"]],
    )


def binned(known: pd.DataFrame, column: str) -> pd.DataFrame:
    """Pooled error rate of up to ten equally large bins: `middle` (median of the fact), `rate`, `num`."""
    edges = np.unique(np.quantile(known[column], np.linspace(0, 1, NUM_BINS + 1)))
    groups = known.groupby(np.clip(np.searchsorted(edges, known[column], side="left"), 1, max(1, len(edges) - 1)))
    pooled = groups[["errors", "length"]].sum()
    rates = 100 * pooled["errors"] / pooled["length"]
    bins = pd.DataFrame({"middle": groups[column].median(), "rate": rates, "num": groups.size()})
    return bins.reset_index(drop=True)
