"""Systems that were taught languages side by side: what each gains on the new ones and forgets of the old, against the base.

A system is one run or several that differ in their seed; of these all counts are added up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

from mlsuperb.runs import store
from mlsuperb.runs.hypotheses import hypotheses_of_split
from mlsuperb.scoring.comparison.bootstrap import Interval, difference_interval
from mlsuperb.scoring.comparison.comparable import comparable
from mlsuperb.scoring.comparison.paired import PairedUtterance, pair_utterances
from mlsuperb.scoring.continual import continual_measures
from mlsuperb.scoring.counts import Counts, Rate, total
from mlsuperb.scoring.protocols.wer_cer import edit_counts
from mlsuperb.scoring.result import SCORED, TranslationResult
from mlsuperb.scoring.table import ABSENT, ARROWS, Cells, percent, rates
from mlsuperb.scoring.utterances import utterance_counts
from mlsuperb.types import TaskFacts
from mlsuperb.units.marked import marked
from mlsuperb.units.phones import Phones

UP, DOWN = ARROWS["higher"], ARROWS["lower"]
_CHANGES: dict[Rate, str] = {"error_rate": "error_change", "lid_accuracy": "lid_change"}  # fields of `Side`


@dataclass(frozen=True, kw_only=True)
class Side:
    """The new languages, or the old ones: rates in % over all their utterances, and the changes against the base in points, with
    bootstrap intervals over utterances; `spread`: standard deviation (n - 1) of the error rate over seeds; PNMI in %, a mean
    over languages, of units fitted on the new languages and of pooled ones. None: nothing to rate, or not measured.
    """

    error_rate: float | None
    lid_accuracy: float | None
    spread: float | None = None
    error_change: Interval | None = None
    lid_change: Interval | None = None
    pnmi: float | None = None
    pooled_pnmi: float | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of an adapted translator, with the trainings that it went on from: trained parameters, seconds of training and peak memory
    in GB, means over seeds."""

    num_trainable: int
    train_s: float
    memory_gb: float


@dataclass(frozen=True, kw_only=True)
class ExpandedSystem:
    """A row: `bwt` is CL-MASR's backward transfer on the old languages, `im` its intransigence against a model that learnt all
    languages together, where one is named; both are of means over languages. `cost` where the runs are adaptations themselves,
    and not heads on adapted models."""

    name: str
    new: Side
    old: Side
    bwt: float | None = None
    im: float | None = None
    num_seeds: int = 1
    cost: Cost | None = None


def compare_systems(
    runs: Mapping[str, Sequence[Path]], *, new: Collection[str], split: str = "test", joint: str | None = None,
    rate: str | None = None,
) -> list[ExpandedSystem]:  # fmt: skip
    """A row for each system; `runs`: name -> its seeds' runs, the base's first: of the benchmark, each with the same head and
    training data, or of adapted translators, whatever they were trained on.

    Args:
        new: languages that the expansion taught.
        joint: the system that has learnt all languages together.
        rate: see `paired_with_first`.

    Raises:
        ValueError: a run has not finished, two cannot be compared, or one side has no utterance.
    """
    base, pairs = next(iter(runs)), paired_with_first(runs, split=split, rate=rate)
    there = {pair.first.language for pair in pairs[base][0]}
    if not set(new) <= there or not there - set(new):
        raise ValueError(
            f"the runs were tested on {', '.join(sorted(there))}, and new are {', '.join(sorted(new))}: give the languages that "
            "were taught, and test on old ones, too"
        )
    by_system = {name: language_rates(found) for name, found in pairs.items()}
    if joint is not None and joint not in by_system:
        raise ValueError(f"--joint {joint} is none of the systems: {', '.join(runs)}")
    systems = [
        _system(name, found, new=new, error_rates=by_system, base=base, joint=joint)
        for name, found in pairs.items()
    ]  # fmt: skip
    before = {folder.resolve() for one in runs[base] for folder in _chain(one)[1:]}
    shared = before | {one.resolve() for one in runs[base]}
    return [
        replace(
            one, num_seeds=len(runs[one.name]), cost=_cost(runs[one.name], but=before if one.name == base else shared)
        )
        for one in systems
    ]


def paired_with_first(
    runs: Mapping[str, Sequence[Path]], *, split: str, rate: str | None = None
) -> dict[str, list[list[PairedUtterance]]]:
    """Of each system the utterances of each seed's run beside those of the first system, whose counts are summed over its seeds.

    Args:
        rate: `wer` or `cer`, errors of words or characters after the 2025 challenge's normalisation; None: the task's own rate.

    Raises:
        ValueError: a run has not finished, or cannot be compared with the first.
    """
    base, *_ = runs.values()
    first = store.read(base[0], *SCORED)
    splits = [split] if isinstance(first, TranslationResult) else None  # training data are what adaptations differ in
    for folder in (one for folders in runs.values() for one in folders):
        if reasons := comparable(first, store.read(folder, *SCORED), splits=splits):
            raise ValueError(f"{base[0]} and {folder} cannot be compared: {'; '.join(reasons)}")
    reference = hypotheses_of_split(base[0], split)
    count = partial(edit_counts, rate=rate) if rate else utterance_counts
    paired = {
        name: [pair_utterances(reference, hypotheses_of_split(one, split), first.facts, count=count) for one in folders]
        for name, folders in runs.items()
    }
    before = [one.second_counts for one in over_seeds(next(iter(paired.values())))]
    return {
        name: [
            [replace(pair, first_counts=counts) for pair, counts in zip(seed, before, strict=True)] for seed in seeds
        ]
        for name, seeds in paired.items()
    }


def over_seeds(seeds: Sequence[Sequence[PairedUtterance]]) -> list[PairedUtterance]:
    """Each utterance with the counts of all seeds added up."""
    return [
        replace(same[0], second_counts=total(one.second_counts for one in same)) for same in zip(*seeds, strict=True)
    ]


def _chain(folder: Path) -> list[Path]:
    """A run of an adapted translator and those that it went on from, the latest first."""
    start = store.read_config(folder).get("start")
    return [folder, *(_chain(Path(start["run"])) if start else ())]


def _cost(folders: Sequence[Path], *, but: Collection[Path]) -> Cost | None:
    """Of all trainings that made a system, without those that the base was made by, too.

    Raises:
        ValueError: a run that one went on from is not there any more.
    """
    results = [store.read(folder, *SCORED) for folder in folders]
    if not all(isinstance(one, TranslationResult) for one in results):
        return None
    chains = [[store.read(one, *SCORED) for one in _chain(folder) if one.resolve() not in but] for folder in folders]
    return Cost(
        num_trainable=sum(one.num_trainable for one in chains[0]),
        train_s=fmean(sum(one.cost.get("train_wall_s", 0.0) for one in chain) for chain in chains),
        memory_gb=fmean(max((one.cost.get("peak_memory_gb", 0.0) for one in chain), default=0.0) for chain in chains),
    )


def language_rates(seeds: Sequence[Sequence[PairedUtterance]]) -> dict[str, float]:
    """The error rate of each language in %, of the second of each pair, over all seeds; none of a task without text."""
    pairs = over_seeds(seeds)
    languages = sorted({pair.first.language for pair in pairs})
    found = {one: total([p.second_counts for p in pairs if p.first.language == one]).error_rate for one in languages}
    return {language: rate for language, rate in found.items() if rate is not None}


def _system(
    name: str, seeds: Sequence[Sequence[PairedUtterance]], *, new: Collection[str],
    error_rates: Mapping[str, Mapping[str, float]], base: str, joint: str | None,
) -> ExpandedSystem:  # fmt: skip
    split = [
        [[pair for pair in seed if (pair.first.language in new) is wanted] for seed in seeds]
        for wanted in (True, False)
    ]
    bwt = im = None
    own, of_base = error_rates[name], error_rates[base]
    if name != base and own and set(own) == set(of_base):
        measures = continual_measures(
            [{one: rate for one, rate in of_base.items() if one not in new}, own],
            learnt={one: int(one in new) for one in own},
            joint=None if joint in (None, name) else error_rates[str(joint)],
        )[-1]
        bwt, im = measures.bwt, measures.im
    sides = [_side(members, is_base=name == base) for members in split]
    return ExpandedSystem(name=name, new=sides[0], old=sides[1], bwt=bwt, im=im)


def _side(seeds: Sequence[Sequence[PairedUtterance]], *, is_base: bool) -> Side:
    pairs = over_seeds(seeds)
    before, after = ([getattr(pair, f"{which}_counts") for pair in pairs] for which in ("first", "second"))
    of_all: Counts = total(after)
    each = [rate for seed in seeds if (rate := total(pair.second_counts for pair in seed).error_rate) is not None]
    return Side(
        spread=stdev(each) if len(each) > 1 else None,
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
    costs = ["trained", "training s", "memory GB"] if any(one.cost for one in systems) else []
    columns = ["system", *costs]
    for which in ("new", "old"):
        for _, name, arrow in rates(facts):
            columns += [f"{name} {which} % {arrow}", f"change [95 %] {arrow}"]
        columns += [f"relative % {DOWN}"] if costs and which == "new" else []
        columns += [title.format(which) for title in units]
    columns += [f"BWT {UP}", f"IM {DOWN}"] if facts.has_text else []
    lines = []
    for one in systems:
        line = [one.name, *(_cost_cells(one.cost) if costs else ())]
        for side in (one.new, one.old):
            for rate, _, _ in rates(facts):
                change: Interval | None = getattr(side, _CHANGES[rate])
                line += [_rate_cell(side, rate), ABSENT if change is None else change.as_change()]
            line += [percent(_relative(side, systems[0].new))] if costs and side is one.new else []
            line += [percent(getattr(side, name)) for name in units.values()]
        line += [percent(one.bwt), percent(one.im)] if facts.has_text else []
        lines.append(tuple(line))
    return Cells(_title(systems, new, split), tuple(columns), tuple(lines), num_names=1)


def _title(systems: Sequence[ExpandedSystem], new: Sequence[str], split: str) -> str:
    seeds = ", mean and deviation of seeds" if any(one.num_seeds > 1 for one in systems) else ""
    of = f"rates over all utterances of a side{seeds}"
    what = "Adaptation to" if any(one.cost for one in systems) else "Language expansion by"
    return f"{what} {', '.join(new)}: {split}, {of}, changes to {systems[0].name}"


def _rate_cell(side: Side, rate: Rate) -> str:
    spread = f" ±{side.spread:.1f}" if rate == "error_rate" and side.spread is not None else ""
    return percent(getattr(side, rate)) + spread


def _relative(side: Side, base: Side) -> float | None:
    """The change of the error rate in % of the base's."""
    return 100 * side.error_change.value / base.error_rate if side.error_change and base.error_rate else None


def _cost_cells(cost: Cost | None) -> tuple[str, str, str]:
    if cost is None:
        return ABSENT, ABSENT, ABSENT
    return f"{cost.num_trainable:,}", f"{cost.train_s:,.0f}", f"{cost.memory_gb:.1f}"


def records(systems: Sequence[ExpandedSystem]) -> list[dict[str, object]]:
    """For JSON."""
    return [asdict(one) for one in systems]
