"""Discrete units beside published ones. `published/<board>.yaml` holds the published rows with their source."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any, NamedTuple

import yaml

from mlsuperb.analysis.unit_tables import DOWN, PERCENT, RunRows, UnitRow, known
from mlsuperb.scoring.boards.blocks import OURS, PUBLISHED
from mlsuperb.scoring.table import Cells, percent
from mlsuperb.units.abx import MAX_TOKENS
from mlsuperb.units.phones import SILENCES

NOT_CONTINUED = "none"
_SHARED = {title: name for title, name in PERCENT.items() if name in ("pnmi", "per", "f1", "r_value")}
_ABX = {f"ABX % {DOWN}": "abx"}


@dataclass(frozen=True, kw_only=True)
class PublishedUnits:
    """What a publication reports of the units of a model.

    Args:
        layer: a number, or a range where the layer depends on the adaptation.
        adaptation: speech of the language that the model was continued on, such as `10min`; `none`: it was not.
        language: None: the mean over the test languages of the board.
        scores: figure -> %.
    """

    model: str
    layer: str
    adaptation: str
    language: str | None
    scores: Mapping[str, float]

    @property
    def name(self) -> str:
        """Model, layer and adaptation in words."""
        continued = "not continued" if self.adaptation == NOT_CONTINUED else f"continued on {self.adaptation}"
        return f"{self.model}, layer {self.layer}, {continued}"


@dataclass(frozen=True, kw_only=True)
class UnitBoard:
    """Published rows, and what units have to be measured on to be comparable with them.

    Args:
        num_units: of the codebook.
        split: of each language.
        languages: the languages of the publication; the rows are means over `test_languages`.
    """

    title: str
    source: str
    num_units: int
    split: str
    languages: Sequence[str]
    test_languages: Sequence[str]
    rows: Sequence[PublishedUnits]


class Beside(NamedTuple):
    """A table, all figures of its rows, and remarks."""

    cells: Cells
    records: list[dict[str, object]]
    remarks: list[str]


class _Line(NamedTuple):
    """A row of the table; `shares`: figures by name, 1 being 100 %."""

    whose: str
    name: str
    language: str
    num_units: int
    shares: Mapping[str, float]


@cache
def unit_board(name: str) -> UnitBoard:
    """The board in `published/<name>.yaml`."""
    path = files("mlsuperb.analysis").joinpath("published", f"{name}.yaml")
    facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    groups = facts["languages"]
    return UnitBoard(
        **{key: facts[key] for key in ("title", "source", "num_units", "split")},
        languages=[*groups["dev"], *groups["test"]],
        test_languages=groups["test"],
        rows=tuple(_published(facts)),
    )


def _published(facts: Mapping[str, Any]) -> Iterator[PublishedUnits]:
    for entry in facts["rows"]:
        scores = dict(zip(facts["columns"], entry["scores"], strict=True))
        yield PublishedUnits(**{**entry, "scores": scores}, language=None)
    table = facts["by_language"]
    for language, values in table["pnmi"].items():
        for adaptation, value in zip(table["adaptations"], values, strict=True):
            yield PublishedUnits(
                model=table["model"],
                layer=table["layer"],
                adaptation=adaptation,
                language=language,
                scores={"pnmi": value},
            )


def beside(runs: Sequence[RunRows], *, board: UnitBoard, by_language: bool = False) -> Beside:
    """The units of runs below published ones, in the figures that both have.

    A run of several languages is shown by the means over them, as in the publication, and not by its pooled counts. Records
    hold all figures: of the published rows, of the means and, as without published rows, of the runs.

    Args:
        by_language: show each language as well, with what was published of it.
    """
    with_abx = any(run.together.abx for run in runs)
    columns = _SHARED | (_ABX if with_abx else {})
    lines = [*_mean_lines(runs, board, by_language=by_language)]
    if by_language:
        lines += _language_lines(runs, board)
    cells = Cells(
        f"Units against phones, beside {board.title}",
        ("", "units of", "language", "codebook", *columns),
        tuple(_cells(line, columns.values()) for line in lines),
        num_names=3,
        bold=frozenset(number for number, line in enumerate(lines) if line.whose == OURS),
    )
    remarks = [*_about(board, with_abx=with_abx)]
    remarks += [f"{run.together.run}: not comparable, {why}" for run in runs for why in not_comparable(run, board)]
    return Beside(cells, [*_records(runs, board, by_language=by_language)], remarks)


def not_comparable(run: RunRows, board: UnitBoard) -> Iterator[str]:
    """Why the units of a run may not be compared with published rows, as far as it can be seen; one clause for each reason."""
    num_units, phones = len(run.together.quality.runs_K), set(run.together.quality.phones)
    if num_units != board.num_units:
        yield f"it has {num_units} units, and {board.title} has {board.num_units}: PNMI rises with their number"
    languages = {row.language for row in run.languages}
    if languages != set(board.test_languages):
        other = ", ".join(sorted(languages - set(board.languages)))
        yield f"its languages are {', '.join(sorted(languages))}, and the published means are over " + (
            ", ".join(board.test_languages) + (f" ({board.title} does not have {other})" if other else "")
        )
    if set(run.together.splits) != {board.split}:
        yield f"it was measured on split {', '.join(run.together.splits)}, and {board.title} scores {board.split}"
    if without := [row.language for row in run.languages if SILENCES.isdisjoint(row.quality.phones)]:
        yield f"the phones of {', '.join(without)} have no silence, which is one more phone in {board.title}"
    if len(names := sorted(SILENCES & phones)) > 1:
        yield f"its silences have several names ({', '.join(names)}), each a phone, and {board.title} has one silence"


def _about(board: UnitBoard, *, with_abx: bool) -> Iterator[str]:
    """Where the published rows are from, and how they were measured differently."""
    yield (
        f"Published: {board.title}, means over the {board.split} sets of {', '.join(board.test_languages)} ({board.source})"
    )
    yield (
        f"Ours: means over languages, too; comparable on the {board.split} sets and phone alignments of {board.title} alone, "
        "which the table cannot check. Phones are counted at the centre of each frame here, every 10 ms there"
    )
    if with_abx:
        yield (
            "ABX: of the units, mean of within and across speaker; over at most "
            f"{MAX_TOKENS} tokens of each phone, context and speaker here, over all there"
        )


def _mean_lines(runs: Sequence[RunRows], board: UnitBoard, *, by_language: bool) -> Iterator[_Line]:
    """The published means, then those of runs; a run of one language stands here where languages are not shown by themselves."""
    yield from (_published_line(one, board) for one in board.rows if one.language is None)
    for run in runs:
        if len(run.languages) > 1:
            yield _mean_line(run)
        elif not by_language:
            yield _own_line(run.together)


def _language_lines(runs: Sequence[RunRows], board: UnitBoard) -> Iterator[_Line]:
    """Each language of the runs: what was published of it, then the runs."""
    rows = [row for run in runs for row in run.languages]
    for language in sorted({row.language for row in rows}):
        yield from (_published_line(one, board) for one in board.rows if one.language == language)
        yield from (_own_line(row) for row in rows if row.language == language)


def _published_line(one: PublishedUnits, board: UnitBoard) -> _Line:
    shares = {name: round(score / 100, 6) for name, score in one.scores.items()}
    language = one.language or _mean_of(len(board.test_languages))
    return _Line(PUBLISHED, one.name, language, board.num_units, shares)


def _own_line(row: UnitRow) -> _Line:
    return _Line(OURS, row.run, row.language, len(row.quality.runs_K), _shares(row))


def _mean_line(run: RunRows) -> _Line:
    """The mean of each figure over all languages of the run; undefined where it is so in one of them."""
    every = [_shares(row) for row in run.languages]
    means = {name: fmean(one[name] for one in every) for name in every[0]}
    return _own_line(run.together)._replace(language=_mean_of(len(every)), shares=means)


def _mean_of(num_languages: int) -> str:
    return f"mean of {num_languages}"


def _shares(row: UnitRow) -> dict[str, float]:
    """The figures that both have; the ABX error is undefined where it is so within or across speaker."""
    figures = row.quality.figures()
    abx = fmean(one.error for one in row.abx) if row.abx else math.nan
    return {**{name: figures[name] for name in _SHARED.values()}, "abx": abx}


def _cells(line: _Line, names: Iterable[str]) -> tuple[str, ...]:
    shares = (line.shares.get(name, math.nan) for name in names)
    figures = (percent(None if math.isnan(share) else 100 * share) for share in shares)
    return (line.whose, line.name, line.language, str(line.num_units), *figures)


def _records(runs: Sequence[RunRows], board: UnitBoard, *, by_language: bool) -> Iterator[dict[str, object]]:
    """All figures of the rows, with what is published marked in `row`."""
    languages = {row.language for run in runs for row in run.languages} if by_language else set()
    for one in board.rows:
        if one.language is None or one.language in languages:
            model = {"run": one.model, "layer": one.layer, "adaptation": one.adaptation}
            yield _record(_published_line(one, board)) | model
    for run in runs:
        if len(run.languages) > 1:
            yield _record(_mean_line(run))
        yield from (_record(_own_line(row)) | row.record() for row in run.shown(by_language=by_language))


def _record(line: _Line) -> dict[str, object]:
    names = {"row": line.whose, "run": line.name, "language": line.language, "num_units": line.num_units}
    return {**names, **known(line.shares)}
