"""Languages, training, what errors go with, confusions, layers, embeddings."""

from __future__ import annotations

from collections.abc import Sequence

from mlsuperb.analysis.chart import Chart
from mlsuperb.analysis.confusion import confusions
from mlsuperb.analysis.curves import training_curves
from mlsuperb.analysis.influences import Correlation, Influence, influences
from mlsuperb.analysis.languages import LanguageScore, dataset_ranges
from mlsuperb.analysis.report.blocks import Block, Cell, Figures, Note, Section, Table, bar, bounded, number
from mlsuperb.analysis.report.loaded import LoadedRun


def languages(run: LoadedRun) -> Section:
    """A row a language, to sort and to filter."""
    found = run.language_scores()
    has_text, has_lid = run.task != "lid", run.task != "asr"
    full = max([100.0, *(one.rate for one in found if one.rate is not None)])
    found.sort(key=lambda one: -(one.rate if has_text and one.rate is not None else -(one.lid_accuracy or 0.0)))
    rows, left_out = bounded([_language_row(one, full, has_text=has_text, has_lid=has_lid) for one in found])
    columns = ["language", *([run.rate] if has_text else []), *(["LID %"] if has_lid else []), "utterances", "datasets"]
    table = Table(
        name="languages",
        title=f"Scores by language, split {run.split}",
        columns=tuple(columns),
        rows=rows,
        numeric=tuple(name not in ("language", "datasets") for name in columns),
        sortable=True,
        filterable=True,
        label="languages",
        left_out=left_out,
        note=(
            f"{run.rate} pools a language's utterances (protocol v1's way, by label). A full bar is {full:.0f} %. Datasets: "
            "the rate in each."
            if has_text
            else "LID %: share of the language's utterances that were given it."
        ),
    )
    return Section(id="languages", title="Languages", blocks=(table,))


def _language_row(one: LanguageScore, full: float, *, has_text: bool, has_lid: bool) -> tuple[Cell, ...]:
    cells = [Cell(text=one.code, sub=one.name)]
    cells += [bar(one.rate, full=full)] if has_text else []
    cells += [bar(one.lid_accuracy, full=100.0)] if has_lid else []
    named = [f"{name} {rate:.1f}" for name, rate in one.datasets.items()]
    cells.append(number(one.num_utterances, digits=0))
    return (*cells, Cell(text=", ".join(named) if len(named) <= 6 else f"{len(named)} datasets"))


def datasets(run: LoadedRun) -> Section:
    """How far the datasets of one language lie apart."""
    chart = dataset_ranges(run.language_scores(), rate=run.rate)
    missing = Note(text="No language has error rates in more than one dataset, so there is no range to show.")
    return Section(
        id="datasets",
        title="Datasets of a language",
        blocks=(Figures(charts=(chart,), wide=True) if chart else missing,),
    )


def training(histories: dict[str, list[dict[str, float]]], *, averaged: Sequence[int] = ()) -> Section:
    """Curves of one run or of several."""
    charts = training_curves(histories)
    blocks: list[Block] = [Figures(charts=tuple(charts))] if charts else []
    missing = [name for name, history in histories.items() if not history]
    if missing:
        blocks.append(Note(text=f"No training history: {', '.join(missing)}."))
    if averaged:
        epochs = ", ".join(map(str, sorted(averaged)))
        blocks.append(Note(text=f"The tested weights are the average of the epochs {epochs}."))
    return Section(id="training", title="Training", blocks=tuple(blocks))


def reasons(run: LoadedRun) -> Section:
    """Error rate against duration, noise, bandwidth, speaking rate, unseen characters."""
    found = influences(run.table, rate=run.rate)
    table = Table(
        name="influences",
        title="Rank correlation with the error rate (Spearman's)",
        columns=("fact", "all utterances", "95 % interval", "within languages", "95 % interval", "utterances"),
        rows=tuple(_influence_row(one) for one in found),
        numeric=(False, True, True, True, True, True),
        note=(
            "From -1 to 1: above 0, the error rate rises with the fact. Within languages: ranks are taken inside each language, "
            "so that an easy language with short utterances does not count. Intervals take utterances as independent; a "
            "correlation is no cause."
        ),
    )
    blocks: list[Block] = [table]
    if charts := tuple(one.chart for one in found if one.chart is not None):
        blocks.append(Figures(charts=charts))
    for text, num in run.table["audio_problem"][run.table["audio_problem"] != ""].value_counts().items():
        blocks.append(Note(text=f"The audio of {num:,} utterances was not measured: {text}.", tone="warning"))
    return Section(id="influences", title="What errors go with", blocks=tuple(blocks))


def _influence_row(one: Influence) -> tuple[Cell, ...]:
    name = Cell(text=one.name[:1].upper() + one.name[1:], sub=one.definition)
    if one.overall is None:
        return (name, Cell(text="n.a.", sub=one.reason), *(Cell(text="") for _ in range(3)), Cell(text="0"))
    return (name, *_correlation(one.overall), *_correlation(one.within), number(one.overall.num, digits=0))


def _correlation(found: Correlation | None) -> tuple[Cell, Cell]:
    if found is None:
        return Cell(text="n.a."), Cell(text="")
    certain = found.low > 0 or found.high < 0
    return (
        Cell(text=f"{found.rho:+.2f}", value=found.rho, tone="" if certain else "weak"),
        Cell(text=f"{found.low:+.2f} to {found.high:+.2f}", tone="" if certain else "weak"),
    )


def confusion(run: LoadedRun) -> Section | None:
    """Which language was taken for which; None where the task names none."""
    if run.task == "asr":
        return None
    found = confusions(run.table)
    pairs = Table(
        name="confusions",
        title="Most frequent confusions",
        columns=("language", "named", "utterances", "% of the language"),
        rows=tuple(
            (Cell(text=language), Cell(text=named), number(num, digits=0), bar(share, full=100.0))
            for language, named, num, share in found.pairs[["language", "named", "num", "share"]].to_numpy().tolist()
        ),
        numeric=(False, False, True, True),
        sortable=True,
        label="pairs",
        left_out=found.num_pairs - len(found.pairs),
    )
    blocks: list[Block] = [Figures(charts=(found.chart,), wide=found.num_shown > 12)]
    blocks.append(pairs if found.num_pairs else Note(text="No utterance was given another language."))
    return Section(id="confusion", title="Language confusion", blocks=tuple(blocks))


def layers(charts: Sequence[Chart], reasons: Sequence[str]) -> Section:
    """Weights of the upstream's layers, or why there are none."""
    blocks: list[Block] = [Figures(charts=tuple(charts), wide=True)] if charts else []
    return Section(id="layers", title="Layer weights", blocks=(*blocks, *(Note(text=text) for text in reasons)))
