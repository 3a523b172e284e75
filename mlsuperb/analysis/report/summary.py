"""What a run is and what it scored: headline, warnings, failure signatures, every protocol's metrics."""

from __future__ import annotations

from collections.abc import Iterator

from mlsuperb.analysis.failures import Signature, failure_signatures
from mlsuperb.analysis.languages import language_strip
from mlsuperb.analysis.report import utterances
from mlsuperb.analysis.report.blocks import Fact, Facts, Figures, Pairs, Section, spoken_date
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.runs import LoadedRun
from mlsuperb.benchmark.card import unaligned, unusual
from mlsuperb.scoring.boards.place import place
from mlsuperb.scoring.comparison.bootstrap import Interval, rate_interval
from mlsuperb.scoring.comparison.run_facts import above_cap, trained_params
from mlsuperb.scoring.metrics import TITLES
from mlsuperb.scoring.page.blocks import Block, Cell, Note, Table, Warnings, bar, number
from mlsuperb.scoring.protocols import described
from mlsuperb.scoring.protocols.v1 import in_subset, scored_language
from mlsuperb.scoring.result import BenchmarkResult, Metric
from mlsuperb.scoring.result import Section as ProtocolSection
from mlsuperb.scoring.table import ARROWS, shown_value, taken_over
from mlsuperb.scoring.utterances import num_empty
from mlsuperb.types import TaskFacts

SUBSETS = {"trained": "trained", "reserved": "few-shot", "all": "all"}
SIGNS = {"shows": "▲", "does not show": "○", "cannot be told": "–"}
POOLED = ("cer", "per", "lid_accuracy")  # metrics over all utterances of a subset at once


def headline(run: LoadedRun, *, sounds: SoundBox) -> Section:
    """The main scores, every reason not to take them at face value, two utterances to listen to, the languages in one picture,
    and what the run is."""
    result, published = run.result, run.result.benchmark  # deviations from the published stand among the warnings
    named = [one for one in (published.experiment, published.size, published.run) if one] if published else ["none"]
    facts = (
        ("Upstream", result.upstream.name),
        ("Adaptation", result.adaptation.name),
        ("Head", result.head.name),
        *((kind.capitalize(), name) for kind, name in unusual(result.config).items()),
        ("Published experiment", ", ".join(named)),
        ("Task", f"{result.task.name} ({result.task.units})"),
        ("Data", result.data.name),
        ("Test utterances", f"{len(run.hypotheses):,} of the split {run.split}"),
        ("Trained parameters", trained_params(result.num_trainable)),
        ("All parameters", f"{result.num_total / 1e6:,.2f} M"),
        ("Seed", str(result.seed)),
        ("Date", spoken_date(result.date)),
    )
    what = Pairs(title="What was run", pairs=facts, closed=False)
    first, *others = [facts for facts in map(tuple, _headline_facts(run)) if facts] or [()]
    blocks: list[Block] = [Facts(facts=first), Warnings(texts=warnings(run)), utterances.samples(run, sounds=sounds)]
    if chart := language_strip(run.languages, rate=run.rate):
        blocks.append(Figures(charts=(chart,), wide=True))
    if others:
        blocks.append(Facts(facts=tuple(fact for facts in others for fact in facts), small=True))
    return Section(id="summary", title="Summary", blocks=(*blocks, what))


def _headline_facts(run: LoadedRun) -> Iterator[Iterator[Fact]]:
    """The main scores of each protocol; those that are pooled, with their intervals."""
    return (_facts(run, protocol, section) for protocol, section in run.result.protocols.sections.items())


def _facts(run: LoadedRun, protocol: str, section: ProtocolSection) -> Iterator[Fact]:
    metrics, about = section.metrics.get(run.split, {}), described(protocol)
    for name, label in about.summary.items():
        if name not in metrics or metrics[name].value is None:
            continue
        subset, kind = _parts(name)
        interval = _interval(run, subset, kind) if kind in POOLED else None
        certain = f"95 % interval {interval.low:.1f} to {interval.high:.1f}. " if interval else ""
        languages = metrics[name].languages
        which = f", {', '.join(languages)}" if isinstance(languages, list) else ""
        meaning = _meaning(about.meanings[kind], run.result.facts)
        meaning = f"{certain}{meaning[:1].upper()}{meaning[1:]}{which} ({protocol})."
        yield Fact(label=label, value=f"{metrics[name].value:.1f}", unit="%", meaning=meaning)


def _meaning(text: str, facts: TaskFacts) -> str:
    """What a metric means, in the units of the task (`ScoringProtocol.meanings`)."""
    return text.replace("{unit}", facts.unit)


def _interval(run: LoadedRun, subset: str, kind: str) -> Interval | None:
    """Bootstrap over utterances."""
    pairs = zip(run.hypotheses, run.counts_of_v1, strict=True)
    kept = [count for one, count in pairs if in_subset(scored_language(one), subset)]
    return rate_interval(kept, of="lid_accuracy" if kind == "lid_accuracy" else "error_rate") if kept else None


def warnings(run: LoadedRun) -> tuple[str, ...]:
    """What a reader must know before believing a number."""
    result = run.result
    found = []
    if not result.official:
        found.append(f"Not an official score: {'; '.join(result.not_official_because)}.")
    if remark := above_cap(result.num_trainable):
        found.append(f"Trained parameters{remark}, the limit of ML-SUPERB 2.0.")
    if empty := num_empty(run.hypotheses):
        found.append(f"Empty hypotheses: {empty:,} of {len(run.hypotheses):,}.")
    if short := result.training.get("num_unaligned"):
        found.append(f"{unaligned(short)[:-1]} (of {result.cost.get('utterances', 0):,}).")
    if other := {key: num for key, num in result.hypotheses.num_utterances.items() if key != run.split}:
        splits = ", ".join(f"{name} ({num:,})" for name, num in other.items())
        found.append(
            f"Apart from the scores, this page covers the split {run.split}; there are also {splits} (--split)."
        )
    return tuple(found)


def signatures(run: LoadedRun) -> Section:
    """The four failure signatures of the ML-SUPERB 2.0 summary."""
    sections = run.result.protocols.sections.values()
    metrics = {name: one for section in sections for name, one in section.metrics.get(run.split, {}).items()}
    found = failure_signatures(metrics, run.languages, lid_accuracy=run.lid_accuracy)
    columns = ("sign", "state", "what was found", "rule")
    table = Table(
        name="signatures",
        title="Four signs of failure, each with its rule",
        columns=columns,
        rows=tuple(_signature_row(one) for one in found),
        texts=columns,
        note=(
            "The signs and what they suggest are from the ML-SUPERB 2.0 summary, which gives no thresholds. These thresholds "
            "are chosen so that the 2025 challenge's baselines do not show the first and the last; a sign is a reason to look "
            "closer, not a proof."
        ),
    )
    return Section(id="signatures", title="Failure signatures", blocks=(table,))


def _signature_row(one: Signature) -> tuple[Cell, ...]:
    state = f"{SIGNS[one.state]} {one.state}".replace(" ", "\u00a0")  # on one line
    return (
        Cell(text=one.name, sub=f"suggests {one.meaning}"),
        Cell(text=state, tone="bad" if one.state == "shows" else "weak" if one.state == "cannot be told" else ""),
        Cell(text=one.finding),
        Cell(text=one.rule, tone="weak"),
    )


def scores(run: LoadedRun) -> Section:
    """The place among the published rows, every metric of every protocol, and why the others are not there."""
    found = run.result.protocols
    facts = run.result.facts
    metrics = (_metrics(name, section, facts) for name, section in found.sections.items())
    blocks: list[Block] = [_place(run.result), *metrics]
    blocks += [Note(text=f"{name} does not apply: {reason}.") for name, reason in found.not_applicable.items()]
    return Section(id="scores", title="Scores of every protocol", blocks=tuple(blocks))


def _place(result: BenchmarkResult) -> Table | Note:
    """The run among the published rows, or a sentence on why it is not there."""
    found = place(result)
    if isinstance(found, str):
        return Note(text=f"Not among the published rows: {found}.")
    rows = []
    for rank, row in enumerate(found.rows, start=1):
        values = [row.scores.get(column.name) for column in found.columns]
        source = f"{row.title}{'' if row.verified else ', unverified'}" if row.title else "this run"
        rows.append(
            (
                Cell(text=str(rank), value=rank),
                Cell(text=row.system, sub=row.adaptation),
                bar(values[0], full=100.0),
                *(number(value) for value in values[1:]),
                Cell(text=source),
            )
        )
    return Table(
        name="published",
        title=f"Among the published rows: place {found.rank} of {len(rows)} in {found.columns[0].title}",
        columns=("rank", "system", *(column.heading for column in found.columns), "from"),
        rows=tuple(rows),
        texts=("system", "from"),
        sortable=True,
        label="systems",
        marked=frozenset({found.rank - 1}),
        note=f"Board {found.board.name}, {found.size}: {found.board.title}. A whole row, with SUPERB_s, takes all runs of the "
        "board: mlsuperb leaderboard.",
    )


def _metrics(name: str, section: ProtocolSection, facts: TaskFacts) -> Table:
    """One row per metric and split, one column per subset of languages (one in all where the protocol has no subsets). A subset
    without any number has a sentence instead."""
    about = described(name)
    subsets = dict.fromkeys(_parts(metric)[0] for metrics in section.metrics.values() for metric in metrics)
    empty = {subset: why for subset in subsets if len(subsets) > 1 and (why := _why_empty(section, subset))}
    kept = [subset for subset in subsets if subset not in empty] or list(subsets)
    one = len(section.metrics) == 1
    rows = []
    for split, metrics in section.metrics.items():
        for kind in dict.fromkeys(_parts(metric)[1] for metric in metrics):
            entries = [metrics.get(f"{subset}_{kind}" if subset else kind) for subset in kept]
            arrow = next((ARROWS[entry.better] for entry in entries if entry), "")
            title = Cell(
                text=f"{TITLES.get(kind, kind)} {arrow}".strip(), sub=_meaning(about.meanings.get(kind, ""), facts)
            )
            rows.append((title, *([] if one else [Cell(text=split)]), *map(_metric_cell, entries)))
    notes = [about.title[:1].upper() + about.title[1:], *([f"Split {next(iter(section.metrics))}"] if one else [])]
    notes += [
        f"No figures of {SUBSETS[subset]} languages: {why}" for subset, why in empty.items() if subset not in kept
    ]
    return Table(
        name=f"scores-{name}",
        title=f"Protocol {name} (version {section.version})",
        note=" ".join(f"{note}." for note in notes if note),
        columns=(*(["metric"] if one else ["metric", "split"]), *(f"{SUBSETS[s]} %" if s else "%" for s in kept)),
        rows=tuple(rows),
        texts=("metric", "split"),
    )


def _why_empty(section: ProtocolSection, subset: str) -> str:
    """The one reason for which all metrics of a subset have no value; an empty string where one has a value."""
    of_subset = [
        one for metrics in section.metrics.values() for name, one in metrics.items() if _parts(name)[0] == subset
    ]
    reasons = {one.reason for one in of_subset}
    return reasons.pop() if len(reasons) == 1 and all(one.value is None for one in of_subset) else ""


def _parts(metric: str) -> tuple[str, str]:
    """Subset (empty where it names none) and kind."""
    subset, _, kind = metric.partition("_")
    return (subset, kind) if subset in SUBSETS else ("", metric)


def _metric_cell(entry: Metric | None) -> Cell:
    if entry is None:
        return Cell(text="")
    if shown_value(entry) is None:
        return Cell(text="n.a.", sub=taken_over(entry), tone="weak")
    return Cell(text=f"{entry.value:.1f}", value=entry.value, sub=taken_over(entry))
