"""The report of several runs side by side. Every difference is to the first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mlsuperb.analysis.layer_weights import layer_weights_chart, why_no_weights
from mlsuperb.analysis.report import overview, pictures
from mlsuperb.analysis.report.blocks import (
    Aligned,
    Block,
    Cell,
    Examples,
    Note,
    Page,
    Pairs,
    Section,
    Table,
    Warnings,
    bar,
    bounded,
    from_cells,
    number,
)
from mlsuperb.analysis.report.loaded import LoadedRun, short_names
from mlsuperb.analysis.report.one_run import section_charts
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.report.utterances import KEY, aligned_output, example, rate_text
from mlsuperb.data.languages import language_name
from mlsuperb.scoring.comparison.bootstrap import Interval
from mlsuperb.scoring.comparison.paired import PairedRow, PairedUtterance, most_different, paired_table
from mlsuperb.scoring.comparison.runs import runs_table
from mlsuperb.scoring.counts import Counts
from mlsuperb.scoring.result import comparable, scoring_settings
from mlsuperb.scoring.table import SYNTHETIC
from mlsuperb.types import Hypothesis

MOST_RUNS = 6  # side by side in the table of languages and under an utterance
NUM_UTTERANCES = 12
LANGUAGES_NOTE = (
    " Differences in points with 95 % intervals (paired bootstrap over the language's utterances); of many languages, one in "
    "twenty such intervals misses 0 by chance, and of a handful of utterances they are too narrow."
)


@dataclass(frozen=True)
class _Side:
    """A run with its name, and its rows against the first (of the first itself: none)."""

    name: str
    run: LoadedRun
    rows: dict[str, PairedRow] = field(default_factory=dict)
    total: PairedRow | None = None

    @property
    def outputs(self) -> list[tuple[Hypothesis, Counts]]:
        return list(zip(self.run.hypotheses, self.run.counts, strict=True))


def several_runs_page(runs: Sequence[LoadedRun], *, max_audio: int, hidden: Collection[str]) -> Page:
    """Runs that may not be compared with the first are in no table of scores; why stands on the page.

    Args:
        hidden: settings that are no column (`mlsuperb.runs.run.NOT_SCIENCE`).
    """
    names = short_names(runs)
    sides, reasons = _comparable_sides(runs, names)
    split = runs[0].split
    sections = [
        _runs(runs, names, sides, reasons, hidden=hidden),
        *([_differences(sides)] if len(sides) > 1 else []),
        _languages(sides),
        pictures.training(
            {name: run.result["training"].get("history", []) for name, run in zip(names, runs, strict=True)}
        ),
        _layers(runs, names),
        *([_utterances(sides, sounds=SoundBox(max_num=max_audio))] if len(sides) > 1 else []),
    ]
    kept = tuple(section for section in sections if section.blocks)
    synthetic = any(run.result["synthetic"] for run in runs)
    return Page(
        title=f"{len(runs)} runs side by side",
        subtitle=f"{', '.join(names)}; split {split}; differences are to {names[0]}",
        sections=kept,
        banner=SYNTHETIC if synthetic else "",
        charts=tuple(section_charts(kept)),
    )


def _comparable_sides(runs: Sequence[LoadedRun], names: Sequence[str]) -> tuple[list[_Side], dict[str, list[str]]]:
    """The first run and those that compare with it, and why the others do not."""
    first = runs[0]
    sides, reasons = [_Side(names[0], first)], {}
    for name, run in zip(names[1:], runs[1:], strict=True):
        why = comparable(first.result, run.result)
        if not why:
            try:
                rows = paired_table(first.hypotheses, run.hypotheses, **scoring_settings(first.result))
                sides.append(_Side(name, run, {row.group: row for row in rows[:-1]}, rows[-1]))
            except ValueError as error:  # not the same utterances: says which
                why = [str(error)]
        if why:
            reasons[name] = why
    return sides, reasons


def _runs(
    runs: Sequence[LoadedRun],
    names: Sequence[str],
    sides: Sequence[_Side],
    reasons: dict[str, list[str]],
    *,
    hidden: Collection[str],
) -> Section:
    cells = runs_table([side.run.result for side in sides], hidden=hidden, split=runs[0].split)
    blocks: list[Block] = [from_cells(cells, name="runs", note="Only settings that differ have a column.")]
    for name, why in reasons.items():
        text = f"{name} may not be compared with {sides[0].name} and is in no table of scores: {'; '.join(why)}."
        blocks.append(Note(text=text, tone="warning"))
    if reasons:
        blocks.append(
            Note(text="Differences are to the run that is given first; give another first for the other runs.")
        )
    texts: dict[str, list[str]] = {}
    for side in sides:
        for text in overview.warnings(side.run):
            texts.setdefault(text, []).append(side.name)
    blocks.append(Warnings(texts=tuple(f"{', '.join(names)}: {text}" for text, names in texts.items())))
    named = tuple((name, str(run.result["run_id"])) for name, run in zip(names, runs, strict=True))
    blocks.append(Pairs(title="Names on this page", pairs=named, closed=False))
    return Section(id="runs", title="Runs", blocks=tuple(blocks))


def _differences(sides: Sequence[_Side]) -> Section:
    """Of all utterances together."""
    rate = sides[0].run.rate
    has_text, has_lid = sides[0].run.task != "lid", sides[0].run.task != "asr"
    rows = []
    for side in sides[1:]:
        assert side.total is not None
        whole = side.total
        cells = [Cell(text=side.name)]
        if has_text:
            cells += [number(whole.first.error_rate), number(whole.second.error_rate)]
            cells += _difference(whole.error_rate, lower_is_better=True)
        if has_lid:
            cells += [number(whole.first.lid_accuracy), number(whole.second.lid_accuracy)]
            cells += _difference(whole.lid_accuracy, lower_is_better=False)
        rows.append(tuple(cells))
    columns = ["run"]
    for title in [rate] * has_text + ["LID %"] * has_lid:
        columns += [f"{title}, {sides[0].name}", title, "difference", "95 % interval"]
    table = Table(
        name="differences",
        title=f"Differences to {sides[0].name}, all utterances",
        columns=tuple(columns),
        rows=tuple(rows),
        numeric=(False, *(True,) * (len(columns) - 1)),
        note=(
            "Points of the pooled rate, the run less the first. Paired bootstrap over utterances (1,000 draws): how far the "
            "difference would move with other test utterances of the same kind. It does not cover other seeds."
        ),
    )
    return Section(id="differences", title="Differences", blocks=(table,))


def _difference(found: Interval | None, *, lower_is_better: bool) -> tuple[Cell, Cell]:
    """The difference and its interval, with a word where it keeps its sign."""
    if found is None:
        return Cell(text="n.a."), Cell(text="")
    better = (found.value < 0) == lower_is_better
    word = ("better" if better else "worse") if found.excludes_zero else "not clear"
    tone: Literal["good", "bad", "weak"] = ("good" if better else "bad") if found.excludes_zero else "weak"
    return (
        Cell(text=f"{found.value:+.1f}", value=found.value, sub=word, tone=tone),
        Cell(text=f"{found.low:+.1f} to {found.high:+.1f}", tone="" if found.excludes_zero else "weak"),
    )


def _languages(sides: Sequence[_Side]) -> Section:
    """A row a language: bars of every run, differences to the first."""
    shown = sides[:MOST_RUNS]
    has_text = sides[0].run.task != "lid"
    scores = [{one.code: one for one in side.run.language_scores()} for side in shown]
    values = [{code: one.rate if has_text else one.lid_accuracy for code, one in found.items()} for found in scores]
    full = max([100.0, *(value for found in values for value in found.values() if value is not None)])
    rows = []
    for code in scores[0]:
        cells = [Cell(text=code, sub=language_name(code))]
        cells += [bar(one[code], full=full) for one in values]
        for side in shown[1:]:
            paired = side.rows.get(code)
            found = None if paired is None else paired.error_rate if has_text else paired.lid_accuracy
            cells.append(_paired_cell(found, has_text=has_text))
        rows.append((*cells, number(scores[0][code].num_utterances, digits=0)))
    kept, left_out = bounded(rows)
    unit = sides[0].run.rate if has_text else "LID %"
    columns = ("language", *(side.name for side in shown))
    columns += (*(f"{side.name} − {shown[0].name}" for side in shown[1:]), "utterances")
    more = f" {len(sides) - len(shown)} more runs are left out." if len(sides) > len(shown) else ""
    table = Table(
        name="languages",
        title=f"{unit} by language",
        columns=columns,
        rows=kept,
        numeric=(False, *(True,) * (len(columns) - 1)),
        sortable=True,
        filterable=True,
        label="languages",
        left_out=left_out,
        note=f"A full bar is {full:.0f} %.{LANGUAGES_NOTE if len(shown) > 1 else ''}{more}",
    )
    return Section(id="languages", title="Languages", blocks=(table,))


def _paired_cell(found: Interval | None, *, has_text: bool) -> Cell:
    change, interval = _difference(found, lower_is_better=has_text)
    return Cell(text=change.text, value=change.value, sub=interval.text, tone=change.tone)


def _layers(runs: Sequence[LoadedRun], names: Sequence[str]) -> Section:
    without = {name: why_no_weights(run.result) for name, run in zip(names, runs, strict=True)}
    having = [(name, run.result) for name, run in zip(names, runs, strict=True) if not without[name]]
    charts = []
    if having:
        charts = [layer_weights_chart([result for _, result in having], labels=[name for name, _ in having])]
    return pictures.layers(charts, [f"{name}: {why}." for name, why in without.items() if why])


def _utterances(sides: Sequence[_Side], *, sounds: SoundBox) -> Section:
    """Where the runs differ most from the first, all runs under the reference."""
    first, shown_sides = sides[0].run, sides[:MOST_RUNS]
    by_id = [dict(zip([one.id for one in side.run.hypotheses], side.outputs, strict=True)) for side in shown_sides]
    share = max(1, NUM_UTTERANCES // (len(sides) - 1))
    blocks: list[Block] = [Note(text=KEY)]
    shown: set[str] = set()
    for side in shown_sides[1:]:
        settings = scoring_settings(first.result)
        pairs = most_different(first.hypotheses, side.run.hypotheses, n=NUM_UTTERANCES, **settings)
        new = [pair for pair in pairs if pair.first.id not in shown][:share]
        shown |= {pair.first.id for pair in new}
        made = tuple(
            example(
                pair.first,
                heading=_heading(pair, first.task),
                aligned=[_aligned(one, found[pair.first.id]) for one, found in zip(shown_sides, by_id, strict=True)],
                sounds=sounds,
            )
            for pair in new
        )
        title = f"{side.name} and {sides[0].name} differ most"
        blocks.append(Examples(title=title, examples=made) if made else Note(text=f"{title}: none but those above."))
    blocks.append(Note(text=sounds.summary()))
    return Section(id="utterances", title="Utterances that differ most", blocks=tuple(blocks))


def _heading(pair: PairedUtterance, task: str) -> str:
    counts = pair.first_counts, pair.second_counts
    return " against ".join(rate_text(count, task) for count in counts)


def _aligned(side: _Side, output: tuple[Hypothesis, Counts]) -> Aligned:
    one, count = output
    return aligned_output(
        one, **scoring_settings(side.run.result), who=side.name, facts=rate_text(count, side.run.task)
    )
