"""Two systems on the same utterances: rates of both by group, their differences with intervals, where they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlsuperb.scoring.comparison.bootstrap import Interval, Rate, difference_interval
from mlsuperb.scoring.comparison.language_facts import By, group_of
from mlsuperb.scoring.counts import Counts, total
from mlsuperb.scoring.utterances import TaskName, UnitName, utterance_counts
from mlsuperb.types import Hypothesis

TOTAL = "total"


@dataclass(frozen=True, kw_only=True)
class PairedRow:
    """A group of utterances: pooled counts of both systems (as protocol v1 pools), and the differences second - first in
    points with their bootstrap intervals; None where there is nothing to rate, or one utterance only."""

    group: str
    num_utterances: int
    num_languages: int
    first: Counts
    second: Counts
    error_rate: Interval | None
    lid_accuracy: Interval | None


@dataclass(frozen=True, kw_only=True)
class PairedUtterance:
    """One utterance with both outputs and their counts."""

    first: Hypothesis
    second: Hypothesis
    first_counts: Counts
    second_counts: Counts

    @property
    def difference(self) -> float:
        """Errors per reference unit, second - first (of an empty reference: errors)."""
        units = max(1, self.first_counts.reference_length)
        return (self.second_counts.errors - self.first_counts.errors) / units

    @property
    def lid_difference(self) -> int:
        """1 where only the second names the language, -1 where only the first does."""
        return self.second_counts.lid_correct - self.first_counts.lid_correct


def paired_table(
    a: Sequence[Hypothesis],
    b: Sequence[Hypothesis],
    *,
    task: TaskName,
    normaliser: str = "v1",
    units: UnitName = "char",
    by: By = "language",
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[PairedRow]:
    """One row a group, by name, then the row `total` of all utterances.

    Raises:
        ValueError: nothing to compare, other utterances, an unknown grouping.
    """
    pairs = pair_utterances(a, b, task=task, normaliser=normaliser, units=units)
    return paired_rows(pairs, by=by, confidence=confidence, num_resamples=num_resamples, seed=seed)


def paired_rows(
    pairs: Sequence[PairedUtterance],
    *,
    by: By = "language",
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[PairedRow]:
    """`paired_table` of what `pair_utterances` returned."""
    groups: dict[str, list[PairedUtterance]] = {}
    for pair in pairs:
        groups.setdefault(group_of(by, dataset=pair.first.dataset, language=pair.first.language), []).append(pair)
    named = [*((name, groups[name]) for name in sorted(groups)), (TOTAL, pairs)]
    return [
        _row(name, members, confidence=confidence, num_resamples=num_resamples, seed=seed) for name, members in named
    ]


def most_different(
    a: Sequence[Hypothesis],
    b: Sequence[Hypothesis],
    *,
    n: int,
    task: TaskName,
    normaliser: str = "v1",
    units: UnitName = "char",
) -> list[PairedUtterance]:
    """The n utterances with the largest difference of their error rates, whichever system is better; of equal ones those
    where the named language differs come first, then by id. Utterances on which both have equal counts are left out.

    Raises:
        ValueError: as `paired_table`.
    """
    return largest_differences(pair_utterances(a, b, task=task, normaliser=normaliser, units=units), n=n)


def largest_differences(pairs: Sequence[PairedUtterance], *, n: int) -> list[PairedUtterance]:
    """`most_different` of what `pair_utterances` returned."""
    differ = [pair for pair in pairs if pair.difference or pair.lid_difference]
    differ.sort(key=lambda pair: (-abs(pair.difference), -abs(pair.lid_difference), pair.first.split, pair.first.id))
    return differ[:n]


def pair_utterances(
    a: Sequence[Hypothesis],
    b: Sequence[Hypothesis],
    *,
    task: TaskName,
    normaliser: str = "v1",
    units: UnitName = "char",
) -> list[PairedUtterance]:
    """Every utterance with both outputs, in the order of `a`.

    Raises:
        ValueError: there is none, or the two are not of the same utterances, references and languages.
    """
    if not a:
        raise ValueError("there is no hypothesis to compare")
    others = {(one.split, one.id): one for one in b}
    missing = [one.id for one in a if (one.split, one.id) not in others]
    if missing or len(a) != len(b):
        example = f", such as {missing[0]}" if missing else ""
        raise ValueError(
            f"the hypotheses are not of the same utterances: {len(a)} and {len(b)}, of which {len(missing)} of the first "
            f"are not in the second{example}; decode both runs on the same data"
        )
    second = [others[one.split, one.id] for one in a]
    changed = [
        one.id
        for one, other in zip(a, second, strict=True)
        if (one.reference, one.language, one.dataset) != (other.reference, other.language, other.dataset)
    ]
    if changed:
        raise ValueError(
            f"{len(changed)} utterances have another reference, language or dataset in the second run, such as "
            f"{changed[0]}; decode both runs on the same data"
        )
    counts = [utterance_counts(ones, task=task, normaliser=normaliser, units=units) for ones in (a, second)]
    return [
        PairedUtterance(first=one, second=other, first_counts=c1, second_counts=c2)
        for one, other, c1, c2 in zip(a, second, *counts, strict=True)
    ]


def _row(
    name: str, members: Sequence[PairedUtterance], *, confidence: float, num_resamples: int, seed: int
) -> PairedRow:
    first, second = [pair.first_counts for pair in members], [pair.second_counts for pair in members]

    def interval(of: Rate) -> Interval | None:
        options = {"num_resamples": num_resamples, "seed": seed}
        return difference_interval(first, second, of=of, confidence=confidence, **options)

    return PairedRow(
        group=name,
        num_utterances=len(members),
        num_languages=len({pair.first.language for pair in members}),
        first=total(first),
        second=total(second),
        error_rate=interval("error_rate"),
        lid_accuracy=interval("lid_accuracy"),
    )
