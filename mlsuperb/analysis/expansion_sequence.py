"""A model that was taught one language after another: what it knows after each, and what the earlier ones cost or helped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mlsuperb.analysis.expansion import DOWN, UP, language_rates, paired_with_first
from mlsuperb.scoring.continual import StageMeasures, continual_measures
from mlsuperb.scoring.table import Cells, percent


def sequence_rates(runs: Mapping[str, Sequence[Path]], *, split: str) -> dict[str, dict[str, float]]:
    """Name -> language -> error rate in %.

    Raises:
        ValueError: a run has not finished, has no text, or cannot be compared with the first.
    """
    found = {name: language_rates(seeds) for name, seeds in paired_with_first(runs, split=split).items()}
    if silent := [name for name, rates in found.items() if not rates]:
        raise ValueError(f"{runs[silent[0]][0]} has no error rates in {split}: a sequence is measured by text")
    return found


def compare_sequence(
    rates: Mapping[str, Mapping[str, float]], stages: Mapping[str, str], *, alone: Mapping[str, str], joint: str | None
) -> list[StageMeasures]:
    """CL-MASR's measures after each stage.

    Args:
        rates: of stages and references, by name.
        stages: name -> language that was taught, in their order; the first is the base, and its language is not read.
        alone: language -> name of a model that learnt it right after the base, for forward transfer.
        joint: name of a model that learnt all languages together, for intransigence.

    Raises:
        ValueError: a language that was taught has no test utterance, or none was known before.
    """
    base, *taught = stages
    learnt = dict.fromkeys(rates[base], 0) | {stages[name]: place for place, name in enumerate(taught, 1)}
    if untested := set(learnt) - set(rates[base]):
        raise ValueError(
            f"{', '.join(sorted(untested))}: no test utterance; name each stage but the base by the language that it was taught, "
            f"one of {', '.join(sorted(rates[base]))}"
        )
    single = {language: rates[name][language] for language, name in alone.items()}
    return continual_measures(
        [rates[name] for name in stages], learnt=learnt, single=single, joint=rates[joint] if joint else None
    )


def sequence_table(
    rates: Mapping[str, Mapping[str, float]], measures: list[StageMeasures], stages: Mapping[str, str], *, unit: str
) -> Cells:
    """A row for each stage: the rate of each language, in brackets before it was taught, and the measures."""
    base, *taught = stages
    order = [stages[name] for name in taught]
    languages = [*sorted(set(rates[base]) - set(order)), *order]
    lines = []
    for place, (name, one) in enumerate(zip(stages, measures, strict=True)):
        unknown = order[place:]
        cells = (
            f"({percent(rates[name][each])})" if each in unknown else percent(rates[name][each]) for each in languages
        )
        lines.append((name, *cells, *map(percent, (one.awer, one.bwt, one.fwt, one.im))))
    columns = (
        "after",
        *(f"{unit} {each} % {DOWN}" for each in languages),
        f"mean of tasks {DOWN}",
        f"BWT {UP}",
        f"FWT {UP}",
        f"IM {DOWN}",
    )
    return Cells(f"One language after another: {', '.join(order)}", columns, tuple(lines), num_names=1)
