"""What a run is and what it scored: headline, warnings, failure signatures, every protocol's metrics."""

from __future__ import annotations

from collections.abc import Iterator

from mlsuperb.analysis.failures import Signature, failure_signatures
from mlsuperb.analysis.report.blocks import Block, Cell, Fact, Facts, Note, Pairs, Section, Table, Warnings
from mlsuperb.analysis.runs import LoadedRun
from mlsuperb.benchmark.card import unaligned
from mlsuperb.scoring.comparison.bootstrap import Interval, rate_interval
from mlsuperb.scoring.comparison.run_facts import above_cap, trained_params
from mlsuperb.scoring.protocols import described
from mlsuperb.scoring.protocols.v1 import in_subset, scored_language
from mlsuperb.scoring.result import Metric
from mlsuperb.scoring.result import Section as ProtocolSection
from mlsuperb.scoring.table import ARROWS, taken_over

SUBSETS = {"trained": "trained", "reserved": "few-shot", "all": "all"}
SIGNS = {"shows": "▲", "does not show": "○", "cannot be told": "–"}
POOLED = ("cer", "per", "lid_accuracy")  # metrics over all utterances of a subset at once


def headline(run: LoadedRun) -> Section:
    """The main scores, what the run is, and every reason not to take them at face value."""
    result, published = run.result, run.result.benchmark  # deviations from the published stand among the warnings
    named = [one for one in (published.experiment, published.size, published.run) if one] if published else ["none"]
    facts = (
        ("Upstream", result.upstream.name),
        ("Adaptation", result.adaptation.name),
        ("Head", result.head.name),
        ("Published experiment", ", ".join(named)),
        ("Task", f"{result.task.name} ({result.task.units})"),
        ("Data", result.data.name),
        ("Test utterances", f"{len(run.hypotheses):,} of the split {run.split}"),
        ("Trained parameters", trained_params(result.num_trainable)),
        ("All parameters", f"{result.num_total / 1e6:,.2f} M"),
        ("Seed", str(result.seed)),
        ("Date", result.date),
    )
    what = Pairs(title="What was run", pairs=facts, closed=False)
    blocks: tuple[Block, ...] = (Facts(facts=tuple(_headline_facts(run))), Warnings(texts=warnings(run)), what)
    return Section(id="summary", title="Summary", blocks=blocks)


def _headline_facts(run: LoadedRun) -> Iterator[Fact]:
    """The main scores of each protocol; those that are pooled, with their intervals."""
    for protocol, section in run.result.protocols.sections.items():
        metrics, about = section.metrics.get(run.split, {}), described(protocol)
        for name, label in about.summary.items():
            if name not in metrics or metrics[name].value is None:
                continue
            subset, kind = _parts(name)
            interval = _interval(run, subset, kind) if kind in POOLED else None
            certain = f"95 % interval {interval.low:.1f} to {interval.high:.1f}. " if interval else ""
            languages = metrics[name].languages
            which = f", {', '.join(languages)}" if isinstance(languages, list) else ""
            meaning = about.meanings[kind]
            meaning = f"{certain}{meaning[:1].upper()}{meaning[1:]}{which} ({protocol})."
            yield Fact(label=label, value=f"{metrics[name].value:.1f}", unit="%", meaning=meaning)


def _interval(run: LoadedRun, subset: str, kind: str) -> Interval | None:
    """Bootstrap over utterances."""
    pairs = zip(run.hypotheses, run.counts, strict=True)
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
    empty = sum(not one.hypothesis.strip() for one in run.hypotheses)
    if empty:
        found.append(f"{empty:,} of {len(run.hypotheses):,} hypotheses are empty.")
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
    """Every metric of every protocol, and why the others are not there."""
    found = run.result.protocols
    blocks: list[Block] = [_metrics(name, section) for name, section in found.sections.items()]
    blocks += [Note(text=f"{name} does not apply: {reason}.") for name, reason in found.not_applicable.items()]
    return Section(id="scores", title="Scores of every protocol", blocks=tuple(blocks))


def _metrics(name: str, section: ProtocolSection) -> Table:
    """One row per metric and split, one column per subset of languages (one in all where the protocol has no subsets)."""
    about = described(name)
    subsets = dict.fromkeys(_parts(metric)[0] for metrics in section.metrics.values() for metric in metrics)
    one = len(section.metrics) == 1
    rows = []
    for split, metrics in section.metrics.items():
        for kind in dict.fromkeys(_parts(metric)[1] for metric in metrics):
            entries = [metrics.get(f"{subset}_{kind}" if subset else kind) for subset in subsets]
            arrow = next(ARROWS[entry.better] for entry in entries if entry)
            title = Cell(text=f"{kind} {arrow}", sub=about.meanings.get(kind, ""))
            rows.append((title, *([] if one else [Cell(text=split)]), *map(_metric_cell, entries)))
    splits = f" Split {next(iter(section.metrics))}." if one else ""
    return Table(
        name=f"scores-{name}",
        title=f"Protocol {name} (version {section.version})",
        note=f"{about.title}.{splits}",
        columns=(*(["metric"] if one else ["metric", "split"]), *(f"{SUBSETS[s]} %" if s else "%" for s in subsets)),
        rows=tuple(rows),
        texts=("metric", "split"),
    )


def _parts(metric: str) -> tuple[str, str]:
    """Subset (empty where it names none) and kind."""
    subset, _, kind = metric.partition("_")
    return (subset, kind) if subset in SUBSETS else ("", metric)


def _metric_cell(entry: Metric | None) -> Cell:
    if entry is None:
        return Cell(text="")
    if entry.value is None:
        return Cell(text="n.a.", sub=taken_over(entry), tone="weak")
    return Cell(text=f"{entry.value:.1f}", value=entry.value, sub=taken_over(entry))
