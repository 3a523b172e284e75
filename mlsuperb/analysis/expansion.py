"""Systems of language expansion side by side: what each gains on new languages and forgets of old ones, against the base."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mlsuperb.runs import store
from mlsuperb.runs.hypotheses import hypotheses_of_split
from mlsuperb.scoring.comparison.bootstrap import Interval, difference_interval
from mlsuperb.scoring.comparison.comparable import comparable
from mlsuperb.scoring.comparison.paired import PairedUtterance, pair_utterances
from mlsuperb.scoring.continual import continual_measures
from mlsuperb.scoring.counts import Counts, Rate, total
from mlsuperb.scoring.result import SCORED
from mlsuperb.scoring.table import ABSENT, ARROWS, Cells, percent, rates
from mlsuperb.types import TaskFacts
from mlsuperb.units.marked import marked
from mlsuperb.units.phones import Phones

UP, DOWN = ARROWS["higher"], ARROWS["lower"]
_CHANGES: dict[Rate, str] = {"error_rate": "error_change", "lid_accuracy": "lid_change"}  # fields of `Side`


@dataclass(frozen=True, kw_only=True)
class Side:
    """The new languages, or the old ones: rates in % over all their utterances, and the changes against the base in points, with
    bootstrap intervals over utterances; PNMI in %, a mean over languages, of units fitted on the new languages and of pooled
    ones. None where there is nothing to rate or it was not measured."""

    error_rate: float | None
    lid_accuracy: float | None
    error_change: Interval | None = None
    lid_change: Interval | None = None
    pnmi: float | None = None
    pooled_pnmi: float | None = None


@dataclass(frozen=True, kw_only=True)
class ExpandedSystem:
    """A row: `bwt` is CL-MASR's backward transfer on the old languages, `im` its intransigence against a model that learnt all
    languages together, where one is named; both are of means over languages."""

    name: str
    new: Side
    old: Side
    bwt: float | None = None
    im: float | None = None


def compare_systems(
    runs: Mapping[str, Path], *, new: Collection[str], split: str = "test", joint: str | None = None
) -> list[ExpandedSystem]:
    """A row for each system; `runs`: name -> run of the benchmark, the base's first; each trained the same head.

    Args:
        new: languages that the expansion taught.
        joint: the system that has learnt all languages together.

    Raises:
        ValueError: a run has not finished, two cannot be compared, or one side has no utterance.
    """
    base, pairs = next(iter(runs)), paired_with_first(runs, split=split)
    there = {pair.first.language for pair in pairs[base]}
    if not set(new) <= there or not there - set(new):
        raise ValueError(
            f"the runs were tested on {', '.join(sorted(there))}, and new are {', '.join(sorted(new))}: give the languages that "
            "were taught, and test on old ones, too"
        )
    by_system = {name: language_rates(found) for name, found in pairs.items()}
    if joint is not None and joint not in by_system:
        raise ValueError(f"--joint {joint} is none of the systems: {', '.join(runs)}")
    return [
        _system(name, found, new=new, error_rates=by_system, base=base, joint=joint)
        for name, found in pairs.items()
    ]  # fmt: skip


def paired_with_first(runs: Mapping[str, Path], *, split: str) -> dict[str, list[PairedUtterance]]:
    """The utterances of each run beside those of the first.

    Raises:
        ValueError: a run has not finished, or cannot be compared with the first.
    """
    results = {name: store.read(folder, *SCORED) for name, folder in runs.items()}
    (base, first), *_ = results.items()
    for name, result in results.items():
        if reasons := comparable(first, result):
            raise ValueError(f"{runs[base]} and {runs[name]} cannot be compared: {'; '.join(reasons)}")
    reference = hypotheses_of_split(runs[base], split)
    return {name: pair_utterances(reference, hypotheses_of_split(runs[name], split), first.facts) for name in runs}


def language_rates(pairs: Sequence[PairedUtterance]) -> dict[str, float]:
    """The error rate of each language in %, of the second of each pair; none of a task without text."""
    languages = sorted({pair.first.language for pair in pairs})
    found = {one: total([p.second_counts for p in pairs if p.first.language == one]).error_rate for one in languages}
    return {language: rate for language, rate in found.items() if rate is not None}


def _system(
    name: str, pairs: Sequence[PairedUtterance], *, new: Collection[str], error_rates: Mapping[str, Mapping[str, float]],
    base: str, joint: str | None,
) -> ExpandedSystem:  # fmt: skip
    of_new = [pair for pair in pairs if pair.first.language in new]
    of_old = [pair for pair in pairs if pair.first.language not in new]
    bwt = im = None
    own, of_base = error_rates[name], error_rates[base]
    if name != base and own and set(own) == set(of_base):
        measures = continual_measures(
            [{one: rate for one, rate in of_base.items() if one not in new}, own],
            learnt={one: int(one in new) for one in own},
            joint=None if joint in (None, name) else error_rates[str(joint)],
        )[-1]
        bwt, im = measures.bwt, measures.im
    sides = [_side(members, is_base=name == base) for members in (of_new, of_old)]
    return ExpandedSystem(name=name, new=sides[0], old=sides[1], bwt=bwt, im=im)


def _side(pairs: Sequence[PairedUtterance], *, is_base: bool) -> Side:
    before, after = ([getattr(pair, f"{which}_counts") for pair in pairs] for which in ("first", "second"))
    of_all: Counts = total(after)
    return Side(
        error_rate=of_all.error_rate,
        lid_accuracy=of_all.lid_accuracy,
        error_change=None if is_base else difference_interval(before, after),
        lid_change=None if is_base else difference_interval(before, after, of="lid_accuracy"),
    )


def pnmi_of_sides(folder: Path, phones: Phones, *, new: Collection[str]) -> tuple[float | None, float | None]:
    """PNMI in % of the units of a run of job=labels, as a mean over the new languages and over the old ones that have phones."""
    found = {language: 100 * one.quality().figures()["pnmi"] for language, one in marked(folder, phones).by_language()}
    sides = [[value for language, value in found.items() if (language in new) is wanted] for wanted in (True, False)]
    of_new, of_old = (sum(values) / len(values) if values else None for values in sides)
    return of_new, of_old


def with_units(
    systems: Sequence[ExpandedSystem], units: Mapping[str, Path], phones: Phones, *, pooled: bool, new: Collection[str]
) -> list[ExpandedSystem]:
    """The systems with the PNMI of their units; `units`: system -> run of job=labels, `pooled`: fitted on old languages, too."""
    found = []
    for one in systems:
        if one.name in units:
            values = pnmi_of_sides(units[one.name], phones, new=new)
            sides: list[Side] = [
                replace(side, pooled_pnmi=value) if pooled else replace(side, pnmi=value)
                for side, value in zip((one.new, one.old), values, strict=True)
            ]
            one = replace(one, new=sides[0], old=sides[1])
        found.append(one)
    return found


def expansion_table(systems: Sequence[ExpandedSystem], facts: TaskFacts, *, new: Sequence[str], split: str) -> Cells:
    """One line per system, with the rates that its task has; changes that their interval holds away from 0 are marked."""
    sides = [side for one in systems for side in (one.new, one.old)]
    units = {f"PNMI {{}}{what} % {UP}": name for what, name in (("", "pnmi"), (", pooled units", "pooled_pnmi"))}
    units = {title: name for title, name in units.items() if any(getattr(side, name) is not None for side in sides)}
    columns = ["system"]
    for which in ("new", "old"):
        for _, name, arrow in rates(facts):
            columns += [f"{name} {which} % {arrow}", f"change [95 %] {arrow}"]
        columns += [title.format(which) for title in units]
    columns += [f"BWT {UP}", f"IM {DOWN}"] if facts.has_text else []
    lines = []
    for one in systems:
        line = [one.name]
        for side in (one.new, one.old):
            for rate, _, _ in rates(facts):
                change: Interval | None = getattr(side, _CHANGES[rate])
                line += [percent(getattr(side, rate)), ABSENT if change is None else change.as_change()]
            line += [percent(getattr(side, name)) for name in units.values()]
        line += [percent(one.bwt), percent(one.im)] if facts.has_text else []
        lines.append(tuple(line))
    title = f"Language expansion by {', '.join(new)}: {split}, rates over all utterances of a side, changes to {systems[0].name}"
    return Cells(title, tuple(columns), tuple(lines), num_names=1)


def records(systems: Sequence[ExpandedSystem]) -> list[dict[str, object]]:
    """For JSON."""
    return [asdict(one) for one in systems]
