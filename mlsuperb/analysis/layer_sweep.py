"""Error rate by layer: runs that read one layer each, or that fine-tune one window of blocks each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from mlsuperb.analysis.chart import EIGHT, Chart, Outcome, new_figure
from mlsuperb.analysis.runs import LoadedRun, load_run
from mlsuperb.runs.store import CONFIG_FILE, read_config
from mlsuperb.scoring.comparison.bootstrap import rate_interval
from mlsuperb.scoring.comparison.comparable import comparable
from mlsuperb.scoring.comparison.runs import differences
from mlsuperb.scoring.counts import total
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.scoring.table import Cells, percent, rates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["layer", "window"]
GROUPS: Mapping[Kind, str] = {"layer": "featurizer", "window": "adaptation"}  # what may differ
LEVELS = (("#D55E00", "--"), ("#009E73", "-."), ("#555555", ":"))
LEAST_SPAN = 2.0  # points of % that an axis shows at least
WINDOW_NAMES = ("bottom", "middle", "top")
NOTE = (
    "Every point is one run with its 95 % bootstrap interval over test utterances; the line connects the means of the runs of "
    "each {what}. The interval does not cover other seeds: train several for that."
)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep has shown.

    Args:
        kind: whether runs differ in the layer that is read or in the blocks that are fine-tuned.
        table: one row per run and measure: the layer or window (empty: `compared_with` says what the run is), `seed`,
            `measure`, `value`, `low`, `high`, `num_utterances`, `run_id`.
        missing: positions without a run.
    """

    kind: Kind
    table: pd.DataFrame
    missing: tuple[str, ...]

    @property
    def measures(self) -> list[str]:
        """Names of the measures, in the order of the table."""
        return list(dict.fromkeys(self.table["measure"]))


def layer_sweep(runs: Mapping[Path, BenchmarkResult], *, split: str = "test", started: Sequence[Path] = ()) -> Outcome:
    """Scores by layer, or by window of layers. `started`: folders of runs that have not finished.

    Raises:
        ValueError: the runs differ in something else, cannot be compared, or do not differ in layers at all.
    """
    shown = [load_run(run, split=split, result=result) for run, result in runs.items()]
    configs = [read_config(folder) for folder in started if (folder / CONFIG_FILE).is_file()]
    found = _sweep(shown, unfinished=configs)
    return Outcome(
        charts=[_chart(found)],
        table=_summary(found),
        remarks=[f"no finished run for {found.kind} {', '.join(found.missing)}"] if found.missing else [],
        synthetic=shown[0].result.synthetic,
    )


def _layer_of(config: Mapping[str, Any], *, num_layers: int | None) -> str | None:
    """The one layer that a run reads, counted from 0; None where it reads all."""
    featurizer = config.get("featurizer") or {}
    layer = -1 if featurizer.get("name") == "last_layer" else featurizer.get("layer")
    if layer is None or layer >= 0 or num_layers is None:
        return None if layer is None else str(layer)
    return str(layer + num_layers)


def _window_of(config: Mapping[str, Any]) -> str | None:
    """The blocks that a run's adaptation works on, as they were given; None for all of them or none."""
    layers = (config.get("adaptation") or {}).get("layers")
    return ",".join(map(str, layers)) if isinstance(layers, list) else None if layers is None else str(layers)


def _place_of(position: str) -> tuple[int, ...]:
    """Sorts layers and windows by their blocks; bottom, middle and top among themselves, behind the others."""
    if position in WINDOW_NAMES:
        return (10**6, WINDOW_NAMES.index(position))
    return tuple(int(number) for number in re.findall(r"-?\d+" if position.startswith("-") else r"\d+", position))


def _sweep(runs: Sequence[LoadedRun], *, unfinished: Sequence[Mapping[str, Any]]) -> Sweep:
    first = runs[0]
    for other in runs[1:]:
        if reasons := comparable(first.result, other.result):
            raise ValueError(f"{first.folder} and {other.folder} cannot stand in one figure: {'; '.join(reasons)}")
    num_layers = first.result.featurizer.num_layers if first.result.featurizer else None
    layers = [_layer_of(run.result.config, num_layers=num_layers) for run in runs]
    windows = [_window_of(run.result.config) for run in runs]
    kind: Kind = "layer" if len({*layers} - {None}) > 1 else "window"
    positions = layers if kind == "layer" else windows
    if len({*positions} - {None}) < 2:
        raise ValueError(
            "these runs do not differ in the layer that they read (featurizer.layer) or in the blocks that they fine-tune "
            "(adaptation.layers): train some with +exp=v2/sweep/one_layer or +exp=v2/sweep/layer_window"
        )
    _check_settings([run.result for run in runs], positions, kind=kind)
    rows = [row for run, position in zip(runs, positions, strict=True) for row in _rows(run, position, kind=kind)]
    if kind == "layer":
        expected = [_layer_of(config, num_layers=num_layers) for config in unfinished]
        expected += map(str, range(num_layers or 0))
    else:
        expected = [_window_of(config) for config in unfinished]
    missing = sorted({one for one in expected if one is not None} - {*positions}, key=_place_of)
    return Sweep(kind=kind, table=pd.DataFrame(rows), missing=tuple(missing))


def _check_settings(results: Sequence[BenchmarkResult], positions: Sequence[str | None], *, kind: Kind) -> None:
    """Nothing but layers and seeds may differ; a run that has no layer of its own is a level to compare with, and may
    have another featurizer (adaptation)."""
    group = GROUPS[kind]
    found = differences(results, but=(group, "seed"))
    if kind == "window":  # last_layer is one_layer of the last, in a class of its own
        own = [
            {key: value for key, value in result.config[group].items() if key not in ("layers", "name")}
            for result, position in zip(results, positions, strict=True)
            if position is not None
        ]
        found |= differences([results[0].model_copy(update={"config": {group: one}}) for one in own])
    if found:
        shown = "; ".join(f"{key} is {' and '.join(dict.fromkeys(values))}" for key, values in found.items())
        raise ValueError(
            f"these runs differ in more than their layers, so that a curve would mix two things: {shown}. Give the runs of one "
            "sweep at a time"
        )


def _rows(run: LoadedRun, position: str | None, *, kind: Kind) -> Iterator[dict[str, Any]]:
    """One for each measure that the task has."""
    result = run.result
    for rate, name, _ in rates(result.facts):
        interval = rate_interval(run.counts, of=rate)
        yield {
            kind: position or "",
            "compared_with": "" if position else result.config[GROUPS[kind]]["name"],
            "seed": result.seed,
            "measure": f"{name} %" if rate == "error_rate" else "LID accuracy %",
            "value": getattr(total(run.counts), rate),
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
            "num_utterances": len(run.counts),
            "run_id": result.run_id,
        }


def _chart(found: Sweep) -> Chart:
    """One panel per measure: points with intervals, a line through the means, a level for each run without a layer."""
    kind, table = found.kind, found.table
    figure, axes = new_figure(height_in=0.4 + 2.9 * len(found.measures), rows=len(found.measures))
    positions = sorted({*table[kind], *found.missing} - {""}, key=_place_of)
    scaled = kind == "layer" and all(one.isdigit() for one in positions)  # with room for what is missing
    places = {one: int(one) if scaled else number for number, one in enumerate(positions)}
    for axis, measure in zip(axes, found.measures, strict=True):
        _panel(axis, table[table["measure"] == measure], kind=kind, places=places)
        axis.set_ylabel(measure)
        axis.set_xticks(list(places.values()), list(places), fontsize=8 if len(places) <= 13 else 7)
    axes[-1].set_xlabel("layer read by the head" if kind == "layer" else "blocks that were fine-tuned (counted from 1)")
    missing = f" No finished run for {kind} {', '.join(found.missing)}." if found.missing else ""
    note = NOTE.format(what=kind) + missing
    return Chart(name=f"{kind}_sweep", title=f"Scores by {kind}", note=note, figure=figure, data=table)


def _panel(axis: Axes, rows: pd.DataFrame, *, kind: Kind, places: dict[str, int]) -> None:
    swept, levels = rows[rows[kind] != ""], rows[rows[kind] == ""]
    means = swept.groupby(kind)["value"].mean()
    axis.plot(list(places.values()), means.reindex(list(places)).tolist(), color=EIGHT[0], linewidth=1.5)  # with gaps
    for position, group in swept.groupby(kind):
        points = zip(group["value"], group["low"], group["high"], strict=True)
        for number, (value, low, high) in enumerate(points):
            x = places[str(position)] + 0.12 * (number - (len(group) - 1) / 2)
            if pd.notna(low):
                axis.vlines(x, low, high, color=EIGHT[0], alpha=0.5, linewidth=1.2)
            axis.plot(x, value, "o", color=EIGHT[0], markersize=4)
    for (name, group), (colour, dashes) in zip(levels.groupby("compared_with"), cycle(LEVELS)):
        label = f"{name}: {group['value'].mean():.1f} (runs: {len(group)})"
        axis.axhline(group["value"].mean(), color=colour, linestyle=dashes, linewidth=1.2, label=label)
    if len(levels):
        axis.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    low, high = axis.get_ylim()
    if high - low < LEAST_SPAN:  # or equal runs would seem to be far apart
        axis.set_ylim((low + high - LEAST_SPAN) / 2, (low + high + LEAST_SPAN) / 2)


def _summary(found: Sweep) -> Cells:
    """One row per position (and level): the mean of its runs for each measure, with the interval where there is one run."""
    table, kind = found.table, found.kind
    named = table[kind].where(table[kind] != "", table["compared_with"])
    rows = []
    for name in sorted({*table[kind]} - {""}, key=_place_of) + sorted({*table["compared_with"]} - {""}):
        groups = [table[(named == name) & (table["measure"] == measure)] for measure in found.measures]
        rows.append((name, str(len(groups[0])), *(_shown(group) for group in groups)))
    return Cells(f"Scores by {kind}", (kind, "runs", *found.measures), tuple(rows), num_names=1)


def _shown(group: pd.DataFrame) -> str:
    text = percent(group["value"].mean())
    if len(group) == 1 and pd.notna(group["low"].iloc[0]):
        return f"{text} [{group['low'].iloc[0]:.1f}, {group['high'].iloc[0]:.1f}]"
    return text
