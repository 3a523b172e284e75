"""The report of several runs side by side. Differences are to one of them, which the reader chooses: at first to the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlsuperb.analysis.report import pictures, summary
from mlsuperb.analysis.report.blocks import Choice, Examples, Page, Pairs, Section, bounded, from_cells, interval_cells
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.report.utterances import aligned_output, example, key, rate_text
from mlsuperb.analysis.runs import LoadedRun, short_names
from mlsuperb.data.languages import language_name
from mlsuperb.scoring.comparison.bootstrap import Interval
from mlsuperb.scoring.comparison.comparable import comparable
from mlsuperb.scoring.comparison.paired import PairedRow, PairedUtterance, most_different, pair_utterances, paired_rows
from mlsuperb.scoring.comparison.runs import runs_table
from mlsuperb.scoring.page.blocks import Block, Cell, Note, Table, Tone, Warnings, bar, number
from mlsuperb.scoring.table import SYNTHETIC, rates

MOST_RUNS = 6  # side by side in the table of languages and under an utterance
NUM_UTTERANCES = 12
DIFFERENCES_NOTE = (
    "Points of the pooled rate, the run minus that it is compared with. Paired bootstrap over utterances (1,000 draws): how far "
    "the difference would move with other test utterances of the same kind. It does not cover other seeds."
)
LANGUAGES_NOTE = (
    " Differences in points with 95 % intervals (paired bootstrap over the language's utterances); of many languages, one in "
    "twenty such intervals misses 0 by chance, and for a handful of utterances they are too narrow."
)


@dataclass(frozen=True)
class _Side:
    """A run with its name, its utterances beside the first run's and their rows by group, the total last (of the first: none)."""

    name: str
    run: LoadedRun
    pairs: Sequence[PairedUtterance] = ()
    rows: Mapping[str, PairedRow] = field(default_factory=dict)


def several_runs_page(runs: Sequence[LoadedRun], *, sounds: SoundBox) -> Page:
    """Runs that may not be compared with the first are in no table of scores; the page says why."""
    named = dict(zip(short_names([run.result.run_id for run in runs]), runs, strict=True))
    views = {base: _comparable_sides(named, base) for base in list(named)[:MOST_RUNS]}
    first, *others = views
    views = {base: views[base] for base in (first, *(base for base in others if len(views[base][0]) > 1))}
    sides, reasons = views[first]
    histories = {name: run.result.training.get("history", []) for name, run in named.items()}
    drawn = {base: list(_view(found, number, sounds=sounds)) for number, (base, (found, _)) in enumerate(views.items())}
    differences, languages, utterances = (
        _choice(kind, {base: blocks[place] for base, blocks in drawn.items()})
        for place, kind in enumerate(("differences", "languages", "utterances"))
    )
    sections = [
        _runs(named, sides, reasons),
        Section(id="differences", title="Differences", blocks=differences),
        Section(id="languages", title="Languages", blocks=languages),
        pictures.training(histories),
        pictures.layers({name: run.result for name, run in named.items()}),
        Section(id="utterances", title="Utterances that differ most", blocks=_explained(utterances, runs[0], sounds)),
    ]
    return Page(
        title=f"{len(runs)} runs side by side",
        subtitle=f"{', '.join(named)}; split {runs[0].split}; differences are to {first} unless another is chosen",
        sections=tuple(section for section in sections if section.blocks),
        banner=_banner(named),
    )


def _banner(named: Mapping[str, LoadedRun]) -> str:
    """The warning of synthetic data, with the names of the runs where it is not all of them."""
    synthetic = [name for name, run in named.items() if run.result.synthetic]
    if len(synthetic) in (0, len(named)):
        return SYNTHETIC if synthetic else ""
    return f"{', '.join(synthetic)}: {SYNTHETIC[0].lower()}{SYNTHETIC[1:]}"


def _view(sides: Sequence[_Side], number: int, *, sounds: SoundBox) -> Iterator[tuple[Block, ...]]:
    """Differences, languages and utterances beside one run, the first of `sides`. `number`: of the view, for names of tables."""
    several = len(sides) > 1
    alone = Note(text=f"No other run here may be compared with {sides[0].name}.")
    yield (_differences(sides, number),) if several else (alone,)
    yield (_languages(sides, number),)
    yield tuple(_utterances(sides, sounds=sounds)) if several else (alone,)


def _choice(kind: str, views: Mapping[str, tuple[Block, ...]]) -> tuple[Block, ...]:
    """A choice among the views, if there is more than one that says something."""
    if not any(isinstance(block, (Table, Examples)) for blocks in views.values() for block in blocks):
        return ()
    return (Choice(name=kind, label="Compare with", options=tuple(views.items())),)


def _explained(blocks: tuple[Block, ...], first: LoadedRun, sounds: SoundBox) -> tuple[Block, ...]:
    return (Note(text=key(first.result.facts)), *blocks, Note(text=sounds.summary())) if blocks else ()


def _comparable_sides(named: Mapping[str, LoadedRun], base: str) -> tuple[list[_Side], dict[str, list[str]]]:
    """The run `base` and those that compare with it, and why the others do not."""
    first = named[base]
    sides, reasons = [_Side(base, first)], {}
    for name, run in ((name, run) for name, run in named.items() if name != base):
        why = comparable(first.result, run.result)
        if not why:
            try:
                pairs = pair_utterances(first.hypotheses, run.hypotheses, first.result.facts)
                sides.append(_Side(name, run, pairs, {row.group: row for row in paired_rows(pairs)}))
            except ValueError as error:  # not the same utterances: says which
                why = [str(error)]
        if why:
            reasons[name] = why
    return sides, reasons


def _runs(named: Mapping[str, LoadedRun], sides: Sequence[_Side], reasons: Mapping[str, list[str]]) -> Section:
    cells = runs_table(
        [side.run.result for side in sides], split=sides[0].run.split, names=[side.name for side in sides]
    )
    blocks: list[Block] = [from_cells(cells, name="runs", note="Only settings that differ have a column.")]
    for name, why in reasons.items():
        text = f"{name} may not be compared with {sides[0].name} and is in no table of scores: {'; '.join(why)}."
        blocks.append(Note(text=text, tone="warning"))
    texts: dict[str, list[str]] = {}
    for side in sides:
        for text in summary.warnings(side.run):
            texts.setdefault(text, []).append(side.name)
    blocks.append(Warnings(texts=tuple(f"{', '.join(names)}: {text}" for text, names in texts.items())))
    ids = tuple((name, run.result.run_id) for name, run in named.items())
    blocks.append(Pairs(title="Names on this page", pairs=ids, closed=False))
    return Section(id="runs", title="Runs", blocks=tuple(blocks))


def _differences(sides: Sequence[_Side], number_of_view: int) -> Table:
    """Differences over all utterances together."""
    first = sides[0]
    measures = rates(first.run.result.facts)
    rows, columns = [], ["run"]
    for _, name, _ in measures:
        columns += [f"{name} %, {first.name}", f"{name} %", "difference", "95 % interval"]
    for side in sides[1:]:
        *_, whole = side.rows.values()
        cells = [Cell(text=side.name)]
        for rate, _, _ in measures:
            cells += [number(getattr(whole.first, rate)), number(getattr(whole.second, rate))]
            cells += _difference(getattr(whole, rate), lower_is_better=rate == "error_rate")
        rows.append(tuple(cells))
    return Table(
        name=_named("differences", number_of_view),
        title=f"Differences to {first.name}, all utterances",
        columns=tuple(columns),
        rows=tuple(rows),
        note=DIFFERENCES_NOTE,
    )


def _named(table: str, number_of_view: int) -> str:
    return f"{table}-{number_of_view + 1}" if number_of_view else table


def _difference(found: Interval | None, *, lower_is_better: bool) -> tuple[Cell, Cell]:
    """The difference and its interval, with a word where it keeps its sign."""
    if found is None:
        return Cell(text="n.a."), Cell(text="")
    better = (found.value < 0) == lower_is_better
    word = ("better" if better else "worse") if found.excludes_zero else "not clear"
    tone: Tone = "good" if better else "bad"
    return interval_cells(found.value, found.low, found.high, digits=1, tone=tone, sub=word)


def _languages(sides: Sequence[_Side], number_of_view: int) -> Table:
    """One row per language: bars of every run, differences to the first."""
    shown = sides[:MOST_RUNS]
    has_text = sides[0].run.result.task.has_text
    values = [{one.code: one.rate if has_text else one.lid_accuracy for one in side.run.languages} for side in shown]
    full = max([100.0, *(value for found in values for value in found.values() if value is not None)])
    rows = []
    for one in sides[0].run.languages:
        cells = [
            Cell(text=one.code, sub=language_name(one.code)),
            *(bar(found[one.code], full=full) for found in values),
        ]
        cells += [_paired_cell(side.rows.get(one.code), has_text=has_text) for side in shown[1:]]
        rows.append((*cells, number(one.num_utterances, digits=0)))
    kept, left_out = bounded(rows)
    names = [side.name for side in shown]
    more = f" {len(sides) - len(shown)} more runs are left out." if len(sides) > len(shown) else ""
    return Table(
        name=_named("languages", number_of_view),
        title=f"{sides[0].run.rate if has_text else 'LID %'} by language",
        columns=("language", *names, *(f"{name} − {names[0]}" for name in names[1:]), "utterances"),
        rows=kept,
        sortable=True,
        filterable=True,
        label="languages",
        left_out=left_out,
        note=f"A full bar is {full:.0f} %.{LANGUAGES_NOTE if len(shown) > 1 else ''}{more}",
    )


def _paired_cell(paired: PairedRow | None, *, has_text: bool) -> Cell:
    found = None if paired is None else paired.error_rate if has_text else paired.lid_accuracy
    change, interval = _difference(found, lower_is_better=has_text)
    return Cell(text=change.text, value=change.value, sub=interval.text, tone=change.tone)


def _utterances(sides: Sequence[_Side], *, sounds: SoundBox) -> Iterator[Block]:
    """Where the runs differ most from the first, all runs under the reference."""
    facts, shown_sides = sides[0].run.result.facts, sides[:MOST_RUNS]
    outputs = [
        (side, {one.id: (one, count) for one, count in zip(side.run.hypotheses, side.run.counts, strict=True)})
        for side in shown_sides
    ]
    share = max(1, NUM_UTTERANCES // (len(sides) - 1))
    shown: set[str] = set()
    for side in shown_sides[1:]:
        new = [pair for pair in most_different(side.pairs, n=NUM_UTTERANCES) if pair.first.id not in shown][:share]
        shown |= {pair.first.id for pair in new}
        made = []
        for pair in new:
            counts = (pair.first_counts, pair.second_counts)
            aligned = [
                aligned_output(one, facts, other.run.language_tokens, who=other.name, about=rate_text(count, facts))
                for other, found in outputs
                for one, count in [found[pair.first.id]]
            ]
            heading = " against ".join(rate_text(count, facts) for count in counts)
            made.append(example(pair.first, heading=heading, aligned=aligned, sounds=sounds))
        title = f"{side.name} and {sides[0].name} differ most"
        found = Examples(title=title, examples=tuple(made))
        yield found if made else Note(text=f"{title}: none besides those above.")
