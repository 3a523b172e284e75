"""The report of runs of labels and of pre-training: one of them, or the iterations of a pre-training in their order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlsuperb.analysis.pretraining_curves import by_epoch, by_update, has_logs
from mlsuperb.analysis.pretraining_runs import Runs, named_runs
from mlsuperb.analysis.pretraining_table import SYNTHETIC, num_updates, pretraining_table, source
from mlsuperb.analysis.report import pretraining_parts as parts
from mlsuperb.analysis.report.blocks import Fact, Facts, Figures, Page, Pairs, Section, bounded, from_cells, spoken_date
from mlsuperb.data.languages import language_name
from mlsuperb.pretraining.records import LabelsResult, PretrainingResult
from mlsuperb.runs.result import Result
from mlsuperb.scoring.page.blocks import Block, Cell, Note, Table, number
from mlsuperb.units.labels import LABELS
from mlsuperb.units.usage import BIT

PERPLEXITY = "Perplexity: exp of the entropy; as many equally frequent units would be as hard to guess."
LOSS_NOTE = (
    "Losses: of the prediction alone, without the penalty of the convolutions. Those of different units do not compare."
)
LANGUAGE_COLUMNS = (
    "language", "loss (bits)", "masked acc. %", "unmasked acc. %", "perplexity", "of the labels", "hours",
)  # fmt: skip
LANGUAGES_NOTE = (
    "Highest loss first; it has the longest bar. A model that knows no more than how frequent each unit is has a loss of log2 "
    "of the perplexity of the labels. Hours: of training."
)


def pretraining_page(given: Mapping[Path, Result]) -> Page:
    """Everything that the folders of runs of job=labels and job=pretrain tell."""
    runs = named_runs(given)
    trained = [_training(runs), _languages(runs)] if runs.trainings else []
    sections = (
        _summary(runs),
        *trained,
        parts.labels(runs),
        parts.data(runs),
        _use(runs),
        parts.settings(runs),
        parts.cost(runs),
    )
    first = next(iter(given.values()))
    return Page(
        title=first.run_id if len(given) == 1 else f"Pre-training: {len(given)} runs",
        subtitle=spoken_date(first.date) if len(given) == 1 else ", ".join(runs.all),
        sections=sections,
        banner=SYNTHETIC if any(data.synthetic for data in parts.corpora(runs)) else "",
        files="result.json, labels and curves",
    )


def _summary(runs: Runs) -> Section:
    """The figures of the last model, or else of the last labels, and a row for each model."""
    blocks: list[Block] = []
    if runs.trainings:
        name, (_, last) = list(runs.trainings.items())[-1]
        blocks.append(Facts(facts=tuple(_facts(last, features=runs.name_of(source(last.targets["features"]))))))
        if len(runs.trainings) > 1:
            blocks.append(Note(text=f"These are the figures of {name}, the last model."))
        cells = pretraining_table([(name, result) for name, (_, result) in runs.trainings.items()])
        blocks.append(
            from_cells(
                cells,
                name="models",
                note=f"Hours: audio to train on. RTFx: seconds of audio in a second of training. {PERPLEXITY}",
            )
        )
    else:
        _, (_, labelled) = list(runs.labels.items())[-1]
        blocks.append(Facts(facts=tuple(_label_facts(labelled))))
    ids = tuple((name, f"{result.run_id}, {spoken_date(result.date)}") for name, (_, result) in runs.all.items())
    blocks.append(Pairs(title="Names on this page", pairs=ids, closed=False))
    for name, (_, result) in runs.trainings.items():
        if runs.labels_of(result) is None:
            wanted = result.inputs["targets"].run_id
            text = f"The labels of {name} are not where its training found them: give the folder of {wanted}, too."
            blocks.append(Note(text=text, tone="warning"))
    return Section(id="summary", title="Summary", blocks=tuple(blocks))


def _facts(result: PretrainingResult, *, features: str) -> Iterator[Fact]:
    scores, units = result.scores["all"], result.targets["labels"]["num_units"]
    size, name = f"{result.num_trainable / 1e6:,.2f}", result.upstream["name"]
    yield Fact(label="Model", value=size, unit="M", meaning=f"Parameters that were trained: {name} and its head.")
    yield Fact(
        label="Units", value=f"{units:,}", meaning=f"Of {features}, layer {result.targets['features'].get('layer')}."
    )
    chance = f"{math.log2(scores['label_perplexity']):.2f} bits by the frequencies of the units alone."
    yield Fact(
        label="Loss", value=f"{scores['loss'] / BIT:.3f}", unit="bits", meaning=f"Per masked validation frame; {chance}"
    )
    for frames, which in (("masked", "hidden from the model"), ("unmasked", "shown to the model")):
        value = f"{100 * scores[f'{frames}_accuracy']:.1f}"
        yield Fact(label=f"{frames.capitalize()} accuracy", value=value, unit="%", meaning=f"Of the frames {which}.")
    meaning = f"Perplexity of the predicted units; that of the labels is {scores['label_perplexity']:.1f}."
    yield Fact(label="Code perplexity", value=f"{scores['code_perplexity']:.1f}", meaning=meaning)


def _label_facts(result: LabelsResult) -> Iterator[Fact]:
    units, labels = result.units, result.labels
    yield Fact(label="Units in use", value=f"{units['active']:,}", unit=f"of {labels['num_units']:,}")
    yield Fact(label="Perplexity", value=f"{units['perplexity']:.1f}", meaning=PERPLEXITY)
    yield Fact(
        label="Segment",
        value=f"{1000 * units['mean_segment_s']:.0f}",
        unit="ms",
        meaning="Mean length of a run of one unit.",
    )
    yield Fact(label="Labelled", value=f"{labels['num_frames'] / labels['rate_hz'] / 3600:,.2f}", unit="h")


def _training(runs: Runs) -> Section:
    """Curves, and updates that were skipped."""
    results = {name: result for name, (_, result) in runs.trainings.items()}
    blocks: list[Block] = [
        Figures(charts=tuple(by_epoch(results))),
        Figures(charts=tuple(by_update(runs.trainings))),
        Note(text=LOSS_NOTE),
    ]
    if missing := [name for name, (folder, _) in runs.trainings.items() if not has_logs(folder)]:
        text = (
            f"No gradient norm, learning rate and loss between validations: {', '.join(missing)}. A run logs them with "
            "trainer.trackers=[tensorboard]."
        )
        blocks.append(Note(text=text))
    skipped = {name: result.training.get("skipped_steps", 0) for name, result in results.items()}
    for name, number_skipped in skipped.items():
        if number_skipped:
            updates = f"{number_skipped:,} of {num_updates(results[name]):,} updates"
            text = f"{name}: {updates} were skipped, because the loss or its gradient was not finite."
            blocks.append(Note(text=text, tone="warning"))
    if not any(skipped.values()):
        blocks.append(Note(text="No update was skipped."))
    return Section(id="training", title="Training", blocks=tuple(blocks))


def _languages(runs: Runs) -> Section:
    """For each model, how well it predicts the units of each language."""
    tables = []
    for place, (name, (_, result)) in enumerate(runs.trainings.items(), 1):
        hours = parts.hours(runs.labels_of(result), split="train")
        languages = sorted(result.scores["languages"].items(), key=lambda item: -item[1]["loss"])
        highest = languages[0][1]["loss"]
        rows = [
            (
                Cell(text=code, sub=language_name(code)),
                Cell(text=f"{one['loss'] / BIT:.3f}", value=one["loss"], share=100 * one["loss"] / highest),
                *(number(100 * one[f"{frames}_accuracy"]) for frames in ("masked", "unmasked")),
                *(number(one[key]) for key in ("code_perplexity", "label_perplexity")),
                number(hours.get(code), digits=2),
            )
            for code, one in languages
        ]
        shown, left_out = bounded(rows)
        table = Table(
            name=f"languages{place}", title=f"Validation by language: {name}", columns=LANGUAGE_COLUMNS, rows=shown,
            left_out=left_out, sortable=True, filterable=True, label="languages", note=LANGUAGES_NOTE,
        )  # fmt: skip
        tables.append(table)
    return Section(id="languages", title="Languages", blocks=tuple(tables))


def _use(runs: Runs) -> Section:
    """Where models and labels lie, and the settings that take them."""
    blocks = []
    for name, (folder, result) in runs.all.items():
        if isinstance(result, PretrainingResult):
            model = folder / result.checkpoint
            pairs = [
                ("the model", str(model)),
                ("in the benchmark", f"upstream=pretrained upstream.run={folder}"),
                (
                    "for the labels of a next iteration",
                    f"job=labels upstream=pretrained upstream.run={folder} extraction.layer=N",
                ),
                ("in transformers", f'AutoModel.from_pretrained("{model}")'),
                ("as a checkpoint of fairseq", f"mlsuperb export fairseq {model} FILE"),
            ]
        else:
            pairs = [
                ("the labels", str(folder / LABELS)),
                ("for a training", f"job=pretrain targets.run={folder}"),
                ("for labels of other speech", f"job=labels labelling.run={folder}"),
            ]
        blocks.append(Pairs(title=name, pairs=tuple(pairs), closed=False))
    return Section(id="use", title="Where the models are, and how to use them", blocks=tuple(blocks))
