"""Tables of discrete units: quality of runs against phones, quality by layer."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mlsuperb.analysis.chart import Chart
from mlsuperb.scoring.escaping import csv
from mlsuperb.scoring.table import ABSENT, ARROWS, Cells, table_console, tell
from mlsuperb.units.abx import AbxError, mean_error
from mlsuperb.units.labels import LABELS
from mlsuperb.units.layers import PUBLISHED_BLOCKS, PUBLISHED_LAYERS, LayerCurve
from mlsuperb.units.marked import Marked, marked
from mlsuperb.units.phones import Phones
from mlsuperb.units.quality import Quality, pooled

log = logging.getLogger(__name__)

ALL_LANGUAGES = "all"
UP, DOWN = ARROWS["higher"], ARROWS["lower"]
PERCENT = {  # column of the table -> figure, in percent
    f"PNMI % {UP}": "pnmi", f"phone purity % {UP}": "phone_purity", f"cluster purity % {UP}": "cluster_purity",
    f"PER % {DOWN}": "per", f"precision % {UP}": "precision", f"recall % {UP}": "recall", f"F1 % {UP}": "f1",
    f"R-value % {UP}": "r_value",
}  # fmt: skip
_ABX = {f"ABX within % {DOWN}": "abx_within", f"ABX across % {DOWN}": "abx_across"}
_OF_LAYERS = ("pnmi", "phone_purity", "per", "f1", "r_value")


class UnitRow(NamedTuple):
    """A row of the table: the units of a run in a language or in all, with ABX where it was asked for."""

    run: str
    language: str
    quality: Quality
    abx: tuple[AbxError, AbxError] | None = None
    splits: tuple[str, ...] = ()  # of its utterances

    def record(self) -> dict[str, object]:
        """All figures, by name; None where one is undefined."""
        errors = dict(zip(_ABX.values(), (one.error for one in self.abx or ()), strict=False))
        figures = known({**self.quality.figures(), **errors})
        return {"run": self.run, "language": self.language, "num_units": len(self.quality.runs_K), **figures}


class RunRows(NamedTuple):
    """The rows of a run: one for each of its languages, and one for all of them, whose counts are added up."""

    languages: tuple[UnitRow, ...]
    together: UnitRow

    def shown(self, *, by_language: bool) -> tuple[UnitRow, ...]:
        """Those of a table: a run of one language has one row."""
        return (*self.languages, self.together) if by_language and len(self.languages) > 1 else (self.together,)


def unit_table(rows: Sequence[UnitRow]) -> Cells:
    """Runs side by side."""
    with_abx = any(row.abx for row in rows)
    columns = ("run", "language", "utterances", *PERCENT, "units", "perplexity", "unit ms", "phone ms", "bit/s")
    return Cells(
        "Units against phones",
        (*columns, *(_ABX if with_abx else ())),
        tuple(_cells(row, with_abx=with_abx) for row in rows),
        num_names=2,
    )


def _cells(row: UnitRow, *, with_abx: bool) -> tuple[str, ...]:
    quality, figures = row.quality, row.quality.figures()
    errors = [one.error for one in row.abx] if row.abx else [math.nan] * 2
    return (
        row.run,
        row.language,
        f"{quality.num_utterances:,}",
        *(_number(figures[name], times=100) for name in PERCENT.values()),
        f"{quality.num_active} of {len(quality.runs_K)}",
        _number(quality.perplexity),
        _number(quality.unit_segment_s, times=1000, digits=0),
        _number(quality.phone_segment_s, times=1000, digits=0),
        _number(quality.bitrate, digits=0),
        *((_number(error, times=100) for error in errors) if with_abx else ()),
    )


def _number(value: float | None, *, times: float = 1, digits: int = 1) -> str:
    return ABSENT if value is None or math.isnan(value) else f"{times * value:.{digits}f}"


def unit_rows(
    runs: Sequence[Path], phones: Phones, *, with_abx: bool = False, one_to_one: bool = False
) -> tuple[list[RunRows], list[str]]:
    """The rows of each run, and remarks on what was left out.

    A run is measured language by language: counts are added up, and its ABX errors are the means over languages.

    Args:
        one_to_one: see `mlsuperb.units.quality.measure`.

    Raises:
        ValueError: a folder holds no labels, or none of its utterances has phones.
    """
    found, remarks = [], []
    for folder in runs:
        units, place = marked(folder, phones), folder.resolve()
        name = place.parent.name if place.name == LABELS else place.name
        rows = _rows_of(name, units, with_abx=with_abx, one_to_one=one_to_one)
        found.append(rows)
        if rows.together.abx:
            remarks.append(f"{name}: {abx_remark(*rows.together.abx)}")
        if one_to_one:
            remarks += [f"{name}: {one}" for row in rows.languages if (one := _unread(row))]
        if units.num_without_phones:
            remarks.append(f"{name}: {units.num_without_phones:,} utterances have no phones and were left out")
        if absent := len(phones) - len(set(units.ids)):
            remarks.append(f"{name}: {absent:,} utterances that have phones have no labels here")
    return found, remarks


def _unread(row: UnitRow) -> str:
    """What cannot be read one to one in a language."""
    num_phones, num_units = row.quality.joint_PK.shape
    if num_phones == num_units:
        return ""
    return (
        f"{num_units} units for {num_phones} phones of {row.language}: one to one, {abs(num_units - num_phones)} of the "
        + ("units are read as no phone" if num_units > num_phones else "phones have no unit")
    )


def _rows_of(name: str, units: Marked, *, with_abx: bool, one_to_one: bool) -> RunRows:
    rows = tuple(
        UnitRow(
            name, language, one.quality(one_to_one=one_to_one), one.abx() if with_abx else None, tuple(sorted(set(one.splits)))
        )
        for language, one in units.by_language()
    )  # fmt: skip
    errors = [row.abx for row in rows if row.abx]
    both = (
        (mean_error([within for within, _ in errors]), mean_error([across for _, across in errors])) if errors else None
    )
    language = rows[0].language if len(rows) == 1 else ALL_LANGUAGES
    quality = pooled(row.quality for row in rows)
    return RunRows(rows, UnitRow(name, language, quality, both, tuple(sorted(set(units.splits)))))


def show(
    cells: Cells,
    records: Sequence[Mapping[str, object]],
    remarks: Sequence[str],
    *,
    form: str | None,
    charts: Callable[[], Iterable[Chart]],
    out: Path | None,
) -> None:
    """Print a table and the remarks, and write the figures into `out`, if it is given.

    Args:
        records: all figures of each row.
        form: `md`, the table as markdown; `csv` or `json`, all figures; None, the table for a terminal. Remarks and names of
            files are logged where the output is for a program.
    """
    console = table_console()
    remarks = [*remarks, *(str(path) for chart in (charts() if out else ()) for path in chart.save(out or Path()))]
    if form in ("csv", "json"):
        text = csv(pd.DataFrame(records)) if form == "csv" else json.dumps(records, indent=2, ensure_ascii=False)
        tell(console, text.rstrip("\n"))
        log.info("%s", "\n".join(remarks))
        return
    if form == "md":
        tell(console, cells.to_markdown())
    else:
        console.print(cells.to_rich())
    tell(console, *remarks)


def layer_records(curve: LayerCurve) -> list[dict[str, float | None]]:
    """All figures of every layer, in order; None where one is undefined or was not measured."""
    return [
        known(
            {
                "layer": one.layer,
                "abx": one.abx,
                "abx_within": one.within.error if one.within else math.nan,
                "abx_across": one.across.error if one.across else math.nan,
                **one.quality.figures(),
            }
        )
        for one in curve.layers
    ]


def known(figures: Mapping[str, float]) -> dict[str, float | None]:
    """The figures, None in place of nan."""
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def best_layers(curve: LayerCurve) -> dict[str, int]:
    """Measure (PNMI, ABX) -> the layer that is best by it; without those that were not measured."""
    measured = {"PNMI": True, "ABX": not all(math.isnan(one.abx) for one in curve.layers)}
    return {name: curve.best_layer("abx" if name == "ABX" else "pnmi") for name, there in measured.items() if there}


def layer_table(curve: LayerCurve) -> Cells:
    """A row for each layer; the best ones stand out."""
    scored = (
        "on the frames that were clustered"
        if not curve.held_out
        else f"on {curve.held_out:.0%} of utterances, held out"
    )
    columns = {title: name for title, name in PERCENT.items() if name in _OF_LAYERS} | _ABX
    rows = layer_records(curve)
    best = best_layers(curve).values()
    return Cells(
        f"Quality by layer: {curve.num_units} units, scored {scored}",
        ("layer", *columns),
        tuple((str(row["layer"]), *(_number(row[name], times=100) for name in columns.values())) for row in rows),
        num_names=1,
        bold=frozenset(place for place, row in enumerate(rows) if row["layer"] in best),
    )


def layer_remarks(curve: LayerCurve) -> list[str]:
    """Which layers are best, beside those that mHuBERT-147 took, and what ABX was measured on."""
    best = ", ".join(f"{layer} by {name}" for name, layer in best_layers(curve).items())
    first, second = PUBLISHED_LAYERS
    published = (
        f"mHuBERT-147 took {first} of its first model and {second} of its second one, of {PUBLISHED_BLOCKS} each"
    )
    one = curve.layers[0]
    return [
        f"best layer: {best}; {published}",
        *([abx_remark(one.within, one.across)] if one.within and one.across else ()),
    ]


def abx_remark(within: AbxError, across: AbxError) -> str:
    """How much ABX was measured on."""
    texts = [
        f"{error.num_cells:,} cells with {error.num_used:,} of {error.num_tokens:,} phones {name} speaker"
        for name, error in (("within", within), ("across", across))
    ]
    return f"ABX over {texts[0]} and {texts[1]}"
