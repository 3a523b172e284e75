"""Languages, training, what errors go with, confusions, layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mlsuperb.analysis.confusion import confusions
from mlsuperb.analysis.curves import language_weights, training_curves
from mlsuperb.analysis.influences import Correlation, Influence, influences
from mlsuperb.analysis.languages import MANY, LanguageScore, dataset_ranges
from mlsuperb.analysis.layer_weights import layer_weights_chart, why_no_weights
from mlsuperb.analysis.report.blocks import Figures, Fold, Section, bounded, interval_cells
from mlsuperb.analysis.runs import LoadedRun
from mlsuperb.analysis.unit_errors import unit_errors
from mlsuperb.data.languages import language_name
from mlsuperb.runtime.messages import plural, printable, some
from mlsuperb.scoring.page.blocks import Block, Cell, Note, Table, Warnings, bar, number
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.scoring.utterances import shown_protocol

NUM_EXAMPLES = 3  # utterances that are named for a kind of problem, languages for a kind of error
NUM_UNIT_ERRORS = 30


def languages(run: LoadedRun) -> Section:
    """One row per language, to sort and to filter."""
    task = run.result.task
    full = max([100.0, *(one.rate for one in run.languages if one.rate is not None)])

    def worst_first(one: LanguageScore) -> float:
        return -one.rate if task.has_text and one.rate is not None else one.lid_accuracy or 0.0

    found = sorted(run.languages, key=worst_first)
    further = run.further_rates
    rows, left_out = bounded([tuple(_language_cells(one, full, [*further.values()])) for one in found])
    rates = [run.rate] * task.has_text + ["LID %"] * task.has_language + [f"{title} %" for title in further]
    table = Table(
        name="languages",
        title=f"Scores by language, split {run.split}",
        columns=("language", *rates, "utterances", "datasets"),
        rows=rows,
        texts=("language", "datasets"),
        sortable=True,
        filterable=True,
        label="languages",
        left_out=left_out,
        note=(
            f"{run.rate} pools the utterances of a language label ({shown_protocol(run.result.facts)}). A full bar is {full:.0f} "
            "%. Datasets: the rate in each."
            if task.has_text
            else "LID %: share of the language's utterances that were given it."
        ),
    )
    return Section(id="languages", title="Languages", blocks=(table,))


def _language_cells(one: LanguageScore, full: float, further: Sequence[Mapping[str, float | None]]) -> Iterator[Cell]:
    """The rate has no cell where the task has no text, the accuracy none where it names no language."""
    yield Cell(text=one.code, sub=language_name(one.code))
    if one.has_text:
        yield bar(one.rate, full=full)
    if one.lid_accuracy is not None:
        yield bar(one.lid_accuracy, full=100.0)
    yield from (number(rates.get(one.code)) for rates in further)
    yield number(one.num_utterances, digits=0)
    named = [f"{name} {rate:.1f}" for name, rate in one.datasets.items()]
    yield Cell(text=", ".join(named) if len(named) <= 6 else f"{len(named)} datasets")


def datasets(run: LoadedRun) -> Section:
    """How far the datasets of one language lie apart."""
    chart = dataset_ranges(run.languages, rate=run.rate)
    missing = Note(text="No language has error rates in more than one dataset, so there is no range to show.")
    block: Block = Figures(charts=(chart,), wide=True) if chart else missing
    if chart and len(set(chart.data["language"])) > MANY:
        block = Fold(title=f"Show the figure of {len(set(chart.data['language']))} languages", blocks=(block,))
    return Section(id="datasets", title="Datasets of a language", blocks=(block,))


def training(histories: Mapping[str, Sequence[Mapping[str, Any]]], averaged: Sequence[int] = ()) -> Section:
    """Curves of one run or of several. `averaged`: epochs whose weights were averaged."""
    charts = [*training_curves(histories), *language_weights(histories)]
    blocks: list[Block] = [Figures(charts=tuple(charts))] if charts else []
    if missing := [name for name, history in histories.items() if not history]:
        blocks.append(Note(text=f"No training history: {', '.join(missing)}."))
    if averaged:
        epochs = ", ".join(map(str, sorted(averaged)))
        blocks.append(Note(text=f"The tested weights are the average of the epochs {epochs}."))
    return Section(id="training", title="Training", blocks=tuple(blocks))


def reasons(run: LoadedRun) -> Section:
    """Error rate against duration, noise, bandwidth, speaking rate, unseen units."""
    found = influences(run.table, rate=run.rate, unit=run.result.facts.unit)
    table = Table(
        name="influences",
        title="Rank correlation with the error rate (Spearman's)",
        columns=("fact", "all utterances", "95 % interval", "within languages", "95 % interval", "utterances"),
        rows=tuple(_influence_row(one) for one in found),
        note=(
            "From -1 to 1: above 0, the error rate rises with the fact. Within languages: ranks are taken inside each language, "
            "so that an easy language with short utterances does not count. Intervals assume independent utterances; a "
            "correlation is not a cause."
        ),
    )
    blocks: list[Block] = [table]
    if charts := tuple(one.chart for one in found if one.chart is not None):
        blocks.append(Figures(charts=charts))
    blocks.append(Warnings(texts=tuple(_unmeasured(run))))
    return Section(id="influences", title="What errors go with", blocks=tuple(blocks))


def _unmeasured(run: LoadedRun) -> Iterator[str]:
    """A sentence per kind of audio problem, the most frequent first; `analysis/utterances.csv` has every one of them."""
    faulty = run.table[run.table["audio_fault"] != ""]
    for fault, num in faulty["audio_fault"].value_counts().items():
        ids = faulty["id"][faulty["audio_fault"] == fault]
        such = f"Such as: {', '.join(ids[:NUM_EXAMPLES])}." if num > NUM_EXAMPLES else f"{', '.join(ids)}."
        yield f"The audio of {plural(int(num), 'utterance')} was not measured: {fault}. {such}"


def _influence_row(one: Influence) -> tuple[Cell, ...]:
    name = Cell(text=one.name[:1].upper() + one.name[1:], sub=one.definition)
    if one.overall is None:
        return (name, Cell(text="n.a.", sub=one.reason), *(Cell(text="") for _ in range(3)), Cell(text="0"))
    return (name, *_correlation(one.overall), *_correlation(one.within), number(one.overall.num, digits=0))


def _correlation(found: Correlation | None) -> tuple[Cell, Cell]:
    if found is None:
        return Cell(text="n.a."), Cell(text="")
    return interval_cells(found.rho, found.low, found.high, digits=2)


def confusion(run: LoadedRun) -> Section:
    """Which language was named for which."""
    found = confusions(run.table)
    pairs = Table(
        name="confusions",
        title="Most frequent confusions",
        columns=("language", "named", "utterances", "% of the language"),
        rows=tuple(
            (Cell(text=language), Cell(text=named), number(num, digits=0), bar(share, full=100.0))
            for language, named, num, share in found.pairs[["language", "named", "num", "share"]].to_numpy().tolist()
        ),
        texts=("language", "named"),
        sortable=True,
        label="pairs",
        left_out=found.num_pairs - len(found.pairs),
    )
    none = Note(text="No utterance was given another language.")
    blocks = (Figures(charts=(found.chart,), wide=found.num_shown > 12), pairs if found.num_pairs else none)
    return Section(id="confusion", title="Language confusion", blocks=blocks)


def wrong_units(run: LoadedRun) -> Section:
    """Which characters or phones were taken for which, and which were lost or added."""
    facts = run.result.facts
    found = unit_errors(run.hypotheses, facts)
    substituted = (found["reference"] != "") & (found["hypothesis"] != "")
    kinds = {"substitutions": found[substituted], "deletions and insertions": found[~substituted]}
    tables = tuple(_unit_errors(name, table, unit=facts.unit) for name, table in kinds.items() if len(table))
    none = Note(text=f"Every {facts.unit} is right.")
    return Section(id="unit_errors", title=f"Wrong {facts.unit}s", blocks=tables or (none,))


def _unit_errors(name: str, table: pd.DataFrame, *, unit: str) -> Table:
    shown = table.head(NUM_UNIT_ERRORS)
    return Table(
        name=name.replace(" ", "_"),
        title=f"Most frequent {name}",
        columns=("reference", "hypothesis", "times", f"% of the {unit}", "languages"),
        rows=tuple(_unit_error_row(*row) for row in shown.itertuples(index=False)),
        texts=("reference", "hypothesis", "languages"),
        sortable=True,
        label="errors",
        left_out=len(table) - len(shown),
        note="As few edits as turn each reference into its hypothesis; of several such ways one is taken.",
    )


def _unit_error_row(
    reference: str, hypothesis: str, num: int, share: float, languages: Sequence[str]
) -> tuple[Cell, ...]:
    return (
        Cell(text=_unit(reference) or "(inserted)"),
        Cell(text=_unit(hypothesis) or "(deleted)"),
        number(num, digits=0),
        bar(share, full=100.0) if reference else Cell(text=""),
        Cell(text=some(languages, at_most=NUM_EXAMPLES)),
    )


def _unit(unit: str) -> str:
    return "(space)" if unit == " " else printable(unit)


def layers(results: Mapping[str, BenchmarkResult]) -> Section:
    """Weights of the upstream's layers by name of the run, or why there are none."""
    reasons = {name: why for name, result in results.items() if (why := why_no_weights(result))}
    having = {name: result for name, result in results.items() if name not in reasons}
    blocks: list[Block] = []
    if having:
        blocks.append(Figures(charts=(layer_weights_chart(list(having.values()), labels=list(having)),), wide=True))
    for name, why in reasons.items():
        blocks.append(Note(text=f"{name if len(results) > 1 else 'No layer weights'}: {why}."))
    return Section(id="layers", title="Layer weights", blocks=tuple(blocks))
