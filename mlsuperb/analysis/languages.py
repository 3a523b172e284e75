"""Scores by language, and how far the datasets of one language lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from mlsuperb.analysis.chart import EIGHT, Chart, new_figure
from mlsuperb.types import TaskFacts

NUM_BARS = 150  # languages in a figure
MOST_CODES = 75  # beside each other in a strip
MANY = 40  # rows from which on a figure has its scale above, too


@dataclass(frozen=True, kw_only=True)
class LanguageScore:
    """Rates in %: `rate` pools all utterances of the label (errors over reference units), None where there is none or the
    task has no text; `datasets` has the same for each dataset."""

    code: str
    num_utterances: int
    rate: float | None
    lid_accuracy: float | None
    datasets: dict[str, float]
    has_text: bool = True

    @property
    def spread(self) -> float | None:
        """The highest rate of a dataset less the lowest, in points; None with fewer than two."""
        return max(self.datasets.values()) - min(self.datasets.values()) if len(self.datasets) > 1 else None


def language_scores(table: pd.DataFrame, facts: TaskFacts) -> list[LanguageScore]:
    """One for each language label, in alphabetical order. `table`: of `utterance_facts.text_facts`."""
    found = []
    for code, part in table.groupby("language", sort=True):
        rates = {str(name): _rate(rows) for name, rows in part.groupby("dataset", sort=True) if facts.has_text}
        found.append(
            LanguageScore(
                code=str(code),
                num_utterances=len(part),
                rate=_rate(part) if facts.has_text else None,
                lid_accuracy=100 * float((part["named"] == code).mean()) if facts.has_language else None,
                datasets={name: rate for name, rate in rates.items() if rate is not None},
                has_text=facts.has_text,
            )
        )
    return found


def _rate(rows: pd.DataFrame) -> float | None:
    length = int(rows["length"].sum())
    return 100 * int(rows["errors"].sum()) / length if length else None


def language_bars(scores: Sequence[LanguageScore], *, rate: str) -> Chart | None:
    """Bars of the error rates, worst on top; of the language accuracies where the task has no text."""
    has_text = any(one.rate is not None for one in scores)
    values = {one.code: one.rate if has_text else one.lid_accuracy for one in scores}
    known = sorted(((value, code) for code, value in values.items() if value is not None), reverse=has_text)
    if not known:
        return None
    shown = known[:NUM_BARS][::-1]
    figure, (axes,) = new_figure(width_in=5.5, height_in=max(1.5, 0.6 + 0.18 * len(shown)))
    axes.barh(range(len(shown)), [value for value, _ in shown], color=EIGHT[0], height=0.7)
    axes.set_yticks(range(len(shown)), [code for _, code in shown], fontsize=8)
    axes.set(xlabel=rate if has_text else "language accuracy %", ylim=(-0.6, len(shown) - 0.4))
    left_out = len(known) - len(shown)
    return Chart(
        name="languages",
        title="Error rate by language" if has_text else "Language accuracy by language",
        note="All utterances of a language pooled." + (f" {left_out} better ones are not drawn." if left_out else ""),
        figure=figure,
        data=pd.DataFrame(
            {"language": one.code, "rate": one.rate, "lid_accuracy": one.lid_accuracy, "num": one.num_utterances}
            for one in scores
        ),
    )


def language_strip(scores: Sequence[LanguageScore], *, rate: str) -> Chart | None:
    """All languages in one low picture, a thin bar each, best to worst; None with fewer than three."""
    has_text = any(one.rate is not None for one in scores)
    values = {one.code: one.rate if has_text else one.lid_accuracy for one in scores}
    known = sorted(((value, code) for code, value in values.items() if value is not None), reverse=not has_text)
    if len(known) < 3:
        return None
    figure, (axes,) = new_figure(width_in=9.0, height_in=1.9)
    axes.bar(range(len(known)), [value for value, _ in known], color=EIGHT[0], width=0.85)
    every = -(-len(known) // MOST_CODES)
    places = range(0, len(known), every)
    axes.set_xticks(places, [known[place][1] for place in places], fontsize=7, rotation=90)
    axes.set(ylabel=rate if has_text else "LID %", xlim=(-0.6, len(known) - 0.4), ylim=(0, None))
    axes.grid(visible=False, axis="x")
    return Chart(
        name="language_strip",
        title=f"{'Error rate' if has_text else 'Language accuracy'} of {len(known)} languages, best to worst",
        note="All utterances of a language pooled." + (f" One code in {every} is written." if every > 1 else ""),
        figure=figure,
        data=pd.DataFrame({"language": code, "value": value} for value, code in known),
    )


def dataset_ranges(scores: Sequence[LanguageScore], *, rate: str) -> Chart | None:
    """A line from the best to the worst dataset of each language that has several, widest on top; None without one."""
    several = sorted((one for one in scores if one.spread is not None), key=lambda one: one.spread or 0.0)[-NUM_BARS:]
    if not several:
        return None
    figure, (axes,) = new_figure(width_in=5.5, height_in=max(1.5, 0.7 + 0.2 * len(several)))
    for place, one in enumerate(several):
        values = list(one.datasets.values())
        axes.plot([min(values), max(values)], [place, place], color="#9aa5b1", linewidth=2, zorder=1)
        axes.scatter(values, [place] * len(values), color=EIGHT[1], s=18, zorder=2)
    axes.set_yticks(range(len(several)), [one.code for one in several], fontsize=8)
    highest = max(100.0, *(value for one in several for value in one.datasets.values()))  # or any gap would look wide
    axes.set(xlabel=rate, xlim=(0, 1.02 * highest), ylim=(-0.7, len(several) - 0.3))
    axes.tick_params(labeltop=len(several) > MANY)
    return Chart(
        name="dataset_range",
        title="Range over the datasets of a language",
        note="One dot per dataset: errors over reference units. ML-SUPERB 2.0 reports the widest of these ranges.",
        figure=figure,
        data=pd.DataFrame(
            {"language": one.code, "dataset": name, "rate": value}
            for one in several
            for name, value in one.datasets.items()
        ),
    )
