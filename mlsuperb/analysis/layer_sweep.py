"""Error rate by layer: runs that read one layer each, or that fine-tune one window of blocks each."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from mlsuperb.analysis.chart import Chart, new_figure
from mlsuperb.analysis.naming import ScoredRun
from mlsuperb.scoring.comparison.bootstrap import Rate, rate_interval
from mlsuperb.scoring.comparison.runs import differences
from mlsuperb.scoring.counts import total
from mlsuperb.scoring.result import comparable, scoring_settings
from mlsuperb.scoring.table import Cells, percent
from mlsuperb.scoring.utterances import utterance_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["layer", "window"]
LEVELS = (("#D55E00", "--"), ("#009E73", "-."), ("#555555", ":"))
LEAST_SPAN = 2.0  # points of % that an axis shows at least
WINDOW_NAMES = ("bottom", "middle", "top")
NOTE = (
    "Every point is one run, its bar the 95 % bootstrap interval over test utterances; the line goes through the mean of the "
    "runs of a {what}. The interval says nothing of other seeds: for that, train several."
)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep has shown.

    Args:
        kind: whether runs differ in the layer that is read or in the blocks that are fine-tuned.
        table: a row a run and measure: the layer or window (empty: `compared_with` says what the run is), `seed`, `measure`,
            `value`, `low`, `high`, `num_utterances`, `run_id`.
        missing: positions without a run.
    """

    kind: Kind
    table: pd.DataFrame
    missing: tuple[str, ...]


def layer_of(config: Mapping[str, Any], *, num_layers: int | None) -> str | None:
    """The one layer that a run reads, counted from 0; None where it reads all."""
    featurizer = config["featurizer"]
    layer = -1 if featurizer["name"] == "last_layer" else featurizer.get("layer")
    if layer is None or layer >= 0 or num_layers is None:
        return None if layer is None else str(layer)
    return str(layer + num_layers)


def window_of(config: Mapping[str, Any]) -> str | None:
    """The blocks that a run's adaptation works on, as they were given; None for all of them or none."""
    layers = config["adaptation"].get("layers")
    return ",".join(map(str, layers)) if isinstance(layers, list) else None if layers is None else str(layers)


def place_of(position: str) -> tuple[int, ...]:
    """Sorts layers and windows by their blocks; bottom, middle and top among themselves, behind the others."""
    if position in WINDOW_NAMES:
        return (10**6, WINDOW_NAMES.index(position))
    return tuple(int(number) for number in re.findall(r"-?\d+" if position.startswith("-") else r"\d+", position))


def sweep(runs: Sequence[ScoredRun], *, hidden: Collection[str], unfinished: Sequence[Mapping[str, Any]] = ()) -> Sweep:
    """The points of a sweep.

    Args:
        hidden: settings that do not matter (`run_id`, `trainer.device`).
        unfinished: configurations of runs that were started and have no result.

    Raises:
        ValueError: the runs differ in something else, cannot be compared, or do not differ in layers at all.
    """
    first = runs[0]
    for other in runs[1:]:
        if reasons := comparable(first.result, other.result):
            raise ValueError(f"{first.place} and {other.place} cannot stand in one figure: {'; '.join(reasons)}")
    num_layers = (first.result.get("featurizer") or {}).get("num_layers")
    layers = [layer_of(run.result["config"], num_layers=num_layers) for run in runs]
    windows = [window_of(run.result["config"]) for run in runs]
    kind: Kind = "layer" if len({*layers} - {None}) > 1 else "window"
    positions = layers if kind == "layer" else windows
    if len({*positions} - {None}) < 2:
        raise ValueError(
            "these runs do not differ in the layer that they read (featurizer.layer) or in the blocks that they fine-tune "
            "(adaptation.layers): train some with +exp=v2/sweep/one_layer or +exp=v2/sweep/layer_window"
        )
    _check_settings(runs, positions, kind=kind, hidden=hidden)
    rows = [row for run, position in zip(runs, positions, strict=True) for row in _rows(run, position, kind=kind)]
    started = [
        layer_of(config, num_layers=num_layers) if kind == "layer" else window_of(config) for config in unfinished
    ]
    expected = [str(layer) for layer in range(num_layers or 0)] if kind == "layer" else []
    missing = {one for one in (*expected, *started) if one is not None} - {*positions}
    return Sweep(kind=kind, table=pd.DataFrame(rows), missing=tuple(sorted(missing, key=place_of)))


def _check_settings(
    runs: Sequence[ScoredRun], positions: Sequence[str | None], *, kind: Kind, hidden: Collection[str]
) -> None:
    """Nothing but layers and seeds may differ; a run that has no layer of its own is a level to compare with, and may
    have another featurizer (adaptation)."""
    group = "featurizer" if kind == "layer" else "adaptation"
    others = [{**run.result["config"], group: None} for run in runs]
    own = [
        {key: value for key, value in run.result["config"][group].items() if key not in ("layer", "layers", "name")}
        for run, position in zip(runs, positions, strict=True)
        if position is not None
    ]
    if kind == "layer":  # last_layer is one_layer of the last, in a class of its own
        own = []
    found = differences(others, hidden={*hidden, "seed"}) | differences(own, hidden={"card"}, inside=f"{group}.")
    if found:
        shown = "; ".join(f"{key} is {' and '.join(dict.fromkeys(values))}" for key, values in found.items())
        raise ValueError(
            f"these runs differ in more than their layers, so that a curve would mix two things: {shown}. Give the runs of one "
            "sweep at a time"
        )


def _rows(run: ScoredRun, position: str | None, *, kind: Kind) -> Iterator[dict[str, Any]]:
    """One for each measure that the task has."""
    result = run.result
    task, units = result["task"]["name"], result["task"]["units"]
    counts = utterance_counts(run.hypotheses, **scoring_settings(result))
    measures: dict[str, Rate] = {} if task == "lid" else {f"{'PER' if units == 'phoneme' else 'CER'} %": "error_rate"}
    if task != "asr":
        measures["LID accuracy %"] = "lid_accuracy"
    for measure, rate in measures.items():
        interval = rate_interval(counts, of=rate)
        yield {
            kind: position or "",
            "compared_with": ""
            if position
            else result["config"]["featurizer" if kind == "layer" else "adaptation"]["name"],
            "seed": result["seed"],
            "measure": measure,
            "value": getattr(total(counts), rate),
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
            "num_utterances": len(counts),
            "run_id": result["run_id"],
        }


def sweep_chart(found: Sweep) -> Chart:
    """A panel a measure: points with intervals, a line through the means, a level for each run without a layer."""
    kind, table = found.kind, found.table
    measures = list(dict.fromkeys(table["measure"]))
    figure, axes = new_figure(height_in=0.4 + 2.9 * len(measures), rows=len(measures))
    positions = sorted({*table[kind], *found.missing} - {""}, key=place_of)
    if kind == "layer" and all(one.isdigit() for one in positions):  # to scale, with room for what is missing
        places = {one: int(one) for one in positions}
    else:
        places = {one: number for number, one in enumerate(positions)}
    for axis, measure in zip(axes, measures, strict=True):
        _panel(axis, table[table["measure"] == measure], kind=kind, places=places)
        axis.set_ylabel(measure)
        axis.set_xticks(list(places.values()), list(places), fontsize=8 if len(places) <= 13 else 7)
    axes[-1].set_xlabel("layer read by the head" if kind == "layer" else "blocks that were fine-tuned (counted from 1)")
    missing = f" No finished run for {kind} {', '.join(found.missing)}." if found.missing else ""
    return Chart(
        name=f"{kind}_sweep",
        title=f"Scores by {kind}",
        note=NOTE.format(what=kind) + missing,
        figure=figure,
        data=table,
    )


def _panel(axis: Axes, rows: pd.DataFrame, *, kind: Kind, places: dict[str, int]) -> None:
    swept = rows[rows[kind] != ""]
    means = swept.groupby(kind)["value"].mean()
    curve = means.reindex(list(places)).tolist()  # a gap where a run is missing
    axis.plot(list(places.values()), curve, color="#0072B2", linewidth=1.5)
    for position, group in swept.groupby(kind):
        points = zip(group["value"], group["low"], group["high"], strict=True)
        for number, (value, low, high) in enumerate(points):
            x = places[str(position)] + 0.12 * (number - (len(group) - 1) / 2)
            if pd.notna(low):
                axis.vlines(x, low, high, color="#0072B2", alpha=0.5, linewidth=1.2)
            axis.plot(x, value, "o", color="#0072B2", markersize=4)
    for (name, group), style in zip(rows[rows[kind] == ""].groupby("compared_with"), cycle(LEVELS)):
        colour, dashes = style
        value = group["value"].mean()
        axis.axhline(
            value, color=colour, linestyle=dashes, linewidth=1.2, label=f"{name}: {value:.1f} (runs: {len(group)})"
        )
    if (rows[kind] == "").any():
        axis.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    low, high = axis.get_ylim()
    if high - low < LEAST_SPAN:  # or equal runs would seem to be far apart
        axis.set_ylim((low + high - LEAST_SPAN) / 2, (low + high + LEAST_SPAN) / 2)


def summary(found: Sweep) -> Cells:
    """A row a position (and a level): mean of its runs for each measure, with the interval where there is one run."""
    table, kind = found.table, found.kind
    measures = list(dict.fromkeys(table["measure"]))
    named = table[kind].where(table[kind] != "", table["compared_with"])
    rows = []
    for name in sorted({*table[kind]} - {""}, key=place_of) + sorted({*table["compared_with"]} - {""}):
        groups = [table[(named == name) & (table["measure"] == measure)] for measure in measures]
        rows.append((name, str(len(groups[0])), *(_shown(group) for group in groups)))
    return Cells(f"Scores by {kind}", (kind, "runs", *measures), tuple(rows), num_names=1)


def _shown(group: pd.DataFrame) -> str:
    text = percent(group["value"].mean())
    if len(group) == 1 and pd.notna(group["low"].iloc[0]):
        return f"{text} [{group['low'].iloc[0]:.1f}, {group['high'].iloc[0]:.1f}]"
    return text
