"""What a run is and what it scored: headline, warnings, failure signatures, every protocol's metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from mlsuperb.analysis.failures import Signature, failure_signatures
from mlsuperb.analysis.report.blocks import Block, Cell, Fact, Facts, Note, Pairs, Section, Table, Warnings
from mlsuperb.analysis.report.loaded import LoadedRun
from mlsuperb.scoring.comparison.bootstrap import Interval, rate_interval
from mlsuperb.scoring.comparison.run_facts import above_cap, trained_params
from mlsuperb.scoring.counts import Counts
from mlsuperb.scoring.protocols.v1 import in_subset, scored_language
from mlsuperb.scoring.score import NOT_APPLICABLE
from mlsuperb.scoring.table import ARROWS, taken_over

PROTOCOLS = {
    "v1": "ML-SUPERB 1.0: all utterances pooled",
    "v2": "ML-SUPERB 2.0: mean over a language's datasets, then over languages",
    "challenge": "2025 challenge, the public scorer: mean over utterances, then over languages",
    "challenge_server": "2025 challenge, as its server scored",
}
MEANINGS = {  # of metrics, by what stands behind the subset
    "cer": "character errors over reference characters",
    "per": "phoneme errors over reference phonemes",
    "lid_accuracy": "share of utterances given their language",
    "macro_cer": "mean of the languages' character error rates",
    "std_cer": "standard deviation of the languages' character error rates (n - 1)",
    "worst_language_cer": "the highest character error rate of a language",
    "dataset_range": "the widest gap between two datasets of one language, in points",
    "micro_cer": "character errors over reference characters, pooled",
    "macro_lid_accuracy": "mean of the languages' accuracies",
    "standard_cer": "mean of the languages' mean utterance error rates",
    "standard_lid_accuracy": "mean of the languages' accuracies",
    "worst_15_cer": "sum of the 15 highest error rates of languages, over 15 (also where there are fewer: then it is too low)",
    "dialect_cer": "the same as standard_cer, on the dialect data",
    "dialect_lid_accuracy": "the same as standard_lid_accuracy, on the dialect data",
}
SUBSETS = {"trained": "trained", "reserved": "few-shot", "all": "all"}
SIGNS = {"shows": "▲", "does not show": "○", "cannot be told": "–"}
HEADLINES = {  # protocol -> metric -> what it is called in the summary
    "v1": {
        "trained_cer": "CER",
        "trained_per": "PER",
        "reserved_cer": "Few-shot CER",
        "trained_lid_accuracy": "Language accuracy",
        "reserved_lid_accuracy": "Few-shot language accuracy",
    },
    "v2": {
        "trained_macro_cer": "Mean over languages",
        "trained_std_cer": "Deviation over languages",
        "trained_worst_language_cer": "Worst language",
        "reserved_macro_cer": "Few-shot mean over languages",
    },
}


def headline(run: LoadedRun) -> Section:
    """The main scores, what the run is, and everything that speaks against taking them at face value."""
    result = run.result
    facts = (
        ("Upstream", str(result["upstream"]["name"])),
        ("Adaptation", str(result["adaptation"]["name"])),
        ("Head", str(result["head"]["name"])),
        ("Published experiment", _experiment(result)),
        ("Task", f"{result['task']['name']} ({result['task']['units']})"),
        ("Data", str(result["data"]["name"])),
        ("Test utterances", f"{len(run.hypotheses):,} of the split {run.split}"),
        ("Trained parameters", trained_params(result["num_trainable"])),
        ("All parameters", f"{result['num_total'] / 1e6:,.2f} M"),
        ("Seed", str(result["seed"])),
        ("Date", str(result["date"])),
    )
    what = Pairs(title="What was run", pairs=facts, closed=False)
    blocks: tuple[Block, ...] = (Facts(facts=tuple(_headline_facts(run))), Warnings(texts=warnings(run)), what)
    return Section(id="summary", title="Summary", blocks=blocks)


def _experiment(result: Mapping[str, Any]) -> str:
    """What the run is a run of; where it differs stands among the warnings."""
    found = result.get("benchmark") or {}
    return ", ".join(str(found[key]) for key in ("experiment", "size", "run") if found.get(key)) or "none"


def _headline_facts(run: LoadedRun) -> Iterator[Fact]:
    """The main scores of protocols v1 and v2 that the run has; v1's, which are pooled, with their intervals."""
    for protocol, names in HEADLINES.items():
        metrics = run.result["protocols"].get(protocol, {}).get("metrics", {}).get(run.split, {})
        for name, label in names.items():
            value = metrics.get(name, {}).get("value")
            if value is None:
                continue
            subset, _, kind = name.partition("_")
            interval = _interval(run, subset, kind) if protocol == "v1" else None
            certain = f"95 % interval {interval.low:.1f} to {interval.high:.1f}. " if interval else ""
            which = f", {', '.join(languages)}" if isinstance(languages := metrics[name].get("languages"), list) else ""
            meaning = f"{certain}{MEANINGS[kind][:1].upper()}{MEANINGS[kind][1:]}{which} ({protocol})."
            yield Fact(label=label, value=f"{value:.1f}", unit="%", meaning=meaning)


def _interval(run: LoadedRun, subset: str, kind: str) -> Interval | None:
    """Bootstrap over utterances."""
    kept: list[Counts] = [
        count for one, count in zip(run.hypotheses, run.counts, strict=True) if in_subset(scored_language(one), subset)
    ]
    return rate_interval(kept, of="lid_accuracy" if kind == "lid_accuracy" else "error_rate") if kept else None


def warnings(run: LoadedRun) -> tuple[str, ...]:
    """What a reader must know before believing a number."""
    result = run.result
    found = []
    if not result["official"]:
        found.append(f"Not an official score: {'; '.join(result['not_official_because'])}.")
    if remark := above_cap(result["num_trainable"]):
        found.append(f"Trained parameters{remark}, the limit of ML-SUPERB 2.0.")
    empty = sum(not one.hypothesis.strip() for one in run.hypotheses)
    if empty:
        found.append(f"{empty:,} of {len(run.hypotheses):,} hypotheses are empty.")
    if unaligned := result["training"].get("num_unaligned"):
        seen = result["cost"].get("utterances", 0)
        found.append(
            f"{unaligned:,} times in training an utterance was too short for its text and weighed nothing (of {seen:,})."
        )
    if other := {key: num for key, num in result["hypotheses"]["num_utterances"].items() if key != run.split}:
        splits = ", ".join(f"{name} ({num:,})" for name, num in other.items())
        found.append(f"Beyond the scores, this page is of the split {run.split}; there are also {splits} (--split).")
    return tuple(found)


def signatures(run: LoadedRun) -> Section:
    """The 2.0 summary's four."""
    found = failure_signatures(
        run.result["protocols"].get("v2"), run.language_scores(), split=run.split, lid_accuracy=run.lid_accuracy
    )
    table = Table(
        name="signatures",
        title="Four signs of failure, each with its rule",
        columns=("sign", "state", "what was found", "rule"),
        rows=tuple(_signature_row(one) for one in found),
        numeric=(False,) * 4,
        note=(
            "The signs and what they suggest are the ML-SUPERB 2.0 summary's, which gives no thresholds. These are chosen so "
            "that the 2025 challenge's baselines do not show the first and the last; a sign is a reason to look, no proof."
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
    protocols = run.result["protocols"]
    blocks: list[Block] = [_metrics(name, section) for name, section in protocols.items() if name != NOT_APPLICABLE]
    for name, reason in protocols.get(NOT_APPLICABLE, {}).items():
        blocks.append(Note(text=f"{name} does not apply: {reason}."))
    return Section(id="scores", title="Scores of every protocol", blocks=tuple(blocks))


def _metrics(name: str, section: Mapping[str, Any]) -> Table:
    """A row a metric and split, a column a subset of languages (one column where the protocol has no subsets)."""
    subsets = dict.fromkeys(_parts(metric)[0] for metrics in section["metrics"].values() for metric in metrics)
    rows = []
    for split, metrics in section["metrics"].items():
        for kind in dict.fromkeys(_parts(metric)[1] for metric in metrics):
            entries = [metrics.get(f"{subset}_{kind}" if subset else kind) for subset in subsets]
            arrow = next(ARROWS[entry["better"]] for entry in entries if entry)
            cells = tuple(_metric_cell(entry) for entry in entries)
            place = () if len(section["metrics"]) == 1 else (Cell(text=split),)
            rows.append((Cell(text=f"{kind} {arrow}", sub=MEANINGS.get(kind, "")), *place, *cells))
    one = len(section["metrics"]) == 1
    splits = f" Split {next(iter(section['metrics']))}." if one else ""
    return Table(
        name=f"scores-{name}",
        title=f"Protocol {name} (version {section['version']})",
        note=f"{PROTOCOLS.get(name, '')}.{splits}",
        columns=(
            "metric",
            *([] if one else ["split"]),
            *(f"{SUBSETS[subset]} %" if subset else "%" for subset in subsets),
        ),
        rows=tuple(rows),
        numeric=(False, *([] if one else [False]), *(True for _ in subsets)),
    )


def _parts(metric: str) -> tuple[str, str]:
    """Subset (empty where it names none) and kind."""
    subset, _, kind = metric.partition("_")
    return (subset, kind) if subset in SUBSETS else ("", metric)


def _metric_cell(entry: Mapping[str, Any] | None) -> Cell:
    if entry is None:
        return Cell(text="")
    value = entry["value"]
    text, tone = ("n.a.", "weak") if value is None else (f"{value:.1f}", "")
    return Cell(text=text, value=value, sub=taken_over(entry), tone=cast(Literal["", "weak"], tone))
