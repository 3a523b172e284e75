"""Two systems on the same utterances: rates of both by group, their differences with intervals, where they differ most;
as records, as a table, as text with marked errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlsuperb.data.text import LanguageTokens
from mlsuperb.scoring.comparison.bootstrap import MARK, Interval, difference_interval
from mlsuperb.scoring.comparison.language_facts import TITLES, By, group_of
from mlsuperb.scoring.counts import Counts, grouped, total
from mlsuperb.scoring.marking import joined, marked
from mlsuperb.scoring.table import ABSENT, Cells, percent, rates
from mlsuperb.scoring.utterances import compared_units, shown_counts
from mlsuperb.types import Hypothesis, TaskFacts

TOTAL = "total"
Count = Callable[[Sequence[Hypothesis], TaskFacts], list[Counts]]
LEGEND = "{braces}: wrong or added; {*}: a unit that is missing there"


@dataclass(frozen=True, kw_only=True)
class PairedRow:
    """A group of utterances: pooled counts of both systems (of `shown_counts`), and the differences second - first in
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


def paired_rows(pairs: Sequence[PairedUtterance], *, by: By = "language", confidence: float = 0.95) -> list[PairedRow]:
    """One row per group, by name, then the row `total` of all utterances. `pairs`: of `pair_utterances`."""
    groups = grouped(pairs, lambda pair: group_of(by, dataset=pair.first.dataset, language=pair.first.language))
    named = [*((name, groups[name]) for name in sorted(groups)), (TOTAL, pairs)]
    return [_row(name, members, confidence=confidence) for name, members in named]


def most_different(pairs: Sequence[PairedUtterance], *, n: int) -> list[PairedUtterance]:
    """The n utterances with the largest difference of their error rates, whichever system is better; of equal ones those
    where the named language differs come first, then by id. Utterances on which both have equal counts are left out."""
    differ = [pair for pair in pairs if pair.difference or pair.lid_difference]
    differ.sort(key=lambda pair: (-abs(pair.difference), -abs(pair.lid_difference), pair.first.split, pair.first.id))
    return differ[:n]


def pair_utterances(
    a: Sequence[Hypothesis], b: Sequence[Hypothesis], facts: TaskFacts, *, count: Count = shown_counts
) -> list[PairedUtterance]:
    """Every utterance with both outputs, in the order of `a`.

    Args:
        count: what counts the errors of utterances.

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
    counts = [count(ones, facts) for ones in (a, second)]
    return [
        PairedUtterance(first=one, second=other, first_counts=c1, second_counts=c2)
        for one, other, c1, c2 in zip(a, second, *counts, strict=True)
    ]


def _row(name: str, members: Sequence[PairedUtterance], *, confidence: float) -> PairedRow:
    first, second = [pair.first_counts for pair in members], [pair.second_counts for pair in members]
    return PairedRow(
        group=name,
        num_utterances=len(members),
        num_languages=len({pair.first.language for pair in members}),
        first=total(first),
        second=total(second),
        error_rate=difference_interval(first, second, of="error_rate", confidence=confidence),
        lid_accuracy=difference_interval(first, second, of="lid_accuracy", confidence=confidence),
    )


def paired_cells(rows: Sequence[PairedRow], facts: TaskFacts, *, by: By, title: str) -> Cells:
    """One line per group: sizes, the rates of A and B, B - A with its interval, marked where the interval excludes 0."""
    several = by != "language"
    columns = [TITLES[by], *(["languages"] if several else []), "utterances"]
    for _, name, arrow in rates(facts):
        columns += [f"{name} A % {arrow}", f"{name} B % {arrow}", "B - A"]
    lines = []
    for row in rows:
        line = [row.group, *([str(row.num_languages)] if several else []), f"{row.num_utterances:,}"]
        for field, _, _ in rates(facts):
            values = getattr(row.first, field), getattr(row.second, field)
            line += [*map(percent, values), _shown_difference(getattr(row, field), *values)]
        lines.append(tuple(line))
    return Cells(title, tuple(columns), tuple(lines), num_names=1)


def _shown_difference(interval: Interval | None, first: float | None, second: float | None) -> str:
    """`-2.1 [-3.0, -1.2] *`; without brackets where there is no interval."""
    if interval is None:
        return ABSENT if first is None or second is None else f"{second - first:+.1f}"
    return interval.as_change()


def verdict(rows: Sequence[PairedRow], facts: TaskFacts, *, confidence: float) -> str:
    """What the marks mean, how many would be there by chance, and what they do not say."""
    field = rates(facts)[0][0]
    known = [interval for row in rows[:-1] if (interval := getattr(row, field)) is not None]
    num_marked = sum(interval.excludes_zero for interval in known)
    chance = (1 - confidence) * len(known)
    return (
        f"{MARK} the {100 * confidence:g} % interval (paired bootstrap over utterances) excludes 0: {num_marked} of {len(known)} "
        f"groups; about {chance:.1f} would be marked by chance if both runs were equally good. "
        "Intervals tell of other utterances, not of other seeds, and are too narrow over a few utterances."
    )


def utterance_lines(pair: PairedUtterance, facts: TaskFacts, tokens: LanguageTokens) -> list[str]:
    """Reference, both outputs with their errors marked, and the audio; see `LEGEND`. `tokens`: by which both systems name
    languages."""
    one = pair.first
    sides = (("A", pair.first, pair.first_counts), ("B", pair.second, pair.second_counts))
    head = [f"{one.id} ({one.dataset}, {one.language})"]
    lines = []
    if facts.has_text:
        head += [f"{name}: {_errors(counts.errors, counts.reference_length)}" for name, _, counts in sides]
        lines.append(f"reference  {joined(compared_units(one, facts, tokens)[0])}")
    for name, side, _ in sides:
        predicted = [f"[{tokens.first(side.hypothesis) or 'none'}]"] if facts.has_language else []
        text = [marked_output(*compared_units(side, facts, tokens))] if facts.has_text else []
        lines.append(f"{name}          {' '.join(filter(None, [*predicted, *text]))}")
    lines.append(f"audio      {one.audio} ({one.start_s:.2f} s to {one.start_s + one.duration_s:.2f} s)")
    return ["; ".join(head), *(f"  {line}" for line in lines)]


def marked_output(reference: Sequence[str], output: Sequence[str]) -> str:
    """An output with what differs from the reference in braces: wrong units as they are, missing ones as stars."""
    parts = []
    for piece in marked(reference, output):
        text = joined(piece.hypothesis) or MARK * len(piece.reference)
        parts.append(text if piece.kind == "equal" else f"{{{text}}}")
    return ("" if isinstance(output, str) else " ").join(parts)


def _errors(errors: int, length: int) -> str:
    return f"{100 * errors / length:.0f} % errors" if length else f"{errors} errors, empty reference"
