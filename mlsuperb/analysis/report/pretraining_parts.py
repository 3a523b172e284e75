"""Of the report of pre-training: the labels, the data, settings and cost of every run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from mlsuperb.analysis.pretraining_runs import Runs
from mlsuperb.analysis.pretraining_table import source
from mlsuperb.analysis.report.blocks import Pairs, Section, bounded
from mlsuperb.analysis.report.one_run import data_blocks, flat
from mlsuperb.data.languages import language_name
from mlsuperb.data.manifest import SPLITS
from mlsuperb.scoring.page.blocks import Block, Cell, Note, Table, number
from mlsuperb.scoring.result import DataRecord
from mlsuperb.units.labels import LABELS, MANIFEST_FILE


def labels(runs: Runs) -> Section:
    """What was clustered, and how the units are used."""
    rows = []
    for name, (_, result) in runs.labels.items():
        about, units, features = result.labels, result.units, result.features
        rows.append(
            (
                Cell(text=name, sub=f"codebook {about['codebook'][:12]}"),
                Cell(text=runs.name_of(source(features))),
                Cell(text=str(features.get("layer", "n.a.")), sub=f"{about['rate_hz']:g} Hz"),
                Cell(text=f"{units['active']:,} of {about['num_units']:,}", value=units["active"]),
                number(units["perplexity"]),
                number(1000 * units["mean_segment_s"], digits=0),
                number(units.get("bitrate"), digits=0),
                number(result.clustering.get("frames_used"), digits=0),
                number(about["num_frames"] / about["rate_hz"] / 3600, digits=2),
            )
        )
    columns = (
        "labels",
        "features of",
        "layer",
        "units in use",
        "perplexity",
        "segment ms",
        "bits/s",
        "frames clustered",
        "hours labelled",
    )
    table = Table(
        name="labels", title="Labels", columns=columns, rows=tuple(rows), texts=columns[:2],
        note="Segment: mean length of a run of one unit. Bits/s: of the units without repetitions.",
    )  # fmt: skip
    return Section(id="labels", title="Labels", blocks=(table,) if rows else (Note(text="No run of labels is here."),))


def corpora(runs: Runs) -> list[DataRecord]:
    """The data of all runs, each once."""
    found: list[DataRecord] = []
    for _, result in runs.all.values():
        data: Mapping[str, Any] = getattr(result, "data", {})
        if (record := DataRecord.model_validate(data)) not in found:
            found.append(record)
    return found


def data(runs: Runs) -> Section:
    """Splits and what was skipped, of each corpus; hours by language and dataset, of each run of labels with other speech."""
    blocks: list[Block] = []
    for place, record in enumerate(corpora(runs), 1):
        blocks += data_blocks(record, name="" if place == 1 else str(place))
    seen: list[pd.DataFrame] = []
    for name, (folder, _) in runs.labels.items():
        counted = labelled(folder)
        if counted is None:
            blocks.append(Note(text=f"No hours by language: {name} has no {LABELS}/{MANIFEST_FILE} any more."))
        elif not any(counted.equals(one) for one in seen):
            seen.append(counted)
            blocks.append(_hours_table(counted, name=f"hours{len(seen)}", labels=name))
    return Section(id="data", title="Data and what was skipped", blocks=tuple(blocks))


@lru_cache(maxsize=8)
def labelled(folder: Path) -> pd.DataFrame | None:
    """Hours and utterances by language, dataset and split of what a run has labelled; None without its manifest."""
    path = folder / LABELS / MANIFEST_FILE
    if not path.is_file():
        return None
    # not all: it may be 25 million rows
    table = pq.read_table(path, columns=["language", "dataset", "split", "duration_s"])
    grouped = table.group_by(["language", "dataset", "split"]).aggregate(
        [("duration_s", "sum"), ("duration_s", "count")]
    )
    found = grouped.to_pandas().sort_values(["language", "dataset", "split"], ignore_index=True)
    return found.assign(hours=found["duration_s_sum"] / 3600).rename(columns={"duration_s_count": "utterances"})


def hours(folder: Path | None, *, split: str) -> dict[str, float]:
    """By language, of what a run has labelled."""
    found = None if folder is None else labelled(folder)
    if found is None:
        return {}
    return {
        str(code): float(one) for code, one in found[found["split"] == split].groupby("language")["hours"].sum().items()
    }


def _hours_table(counted: pd.DataFrame, *, name: str, labels: str) -> Table:
    """One row per language and dataset, most hours first."""
    splits = [split for split in SPLITS if (counted["split"] == split).any()]
    found = []
    for (code, dataset), part in counted.groupby(["language", "dataset"]):
        of_split = dict(zip(part["split"], part["hours"], strict=True))
        found.append((float(part["hours"].sum()), str(code), str(dataset), of_split, int(part["utterances"].sum())))
    found.sort(key=lambda one: -one[0])
    rows = [
        (
            Cell(text=code, sub=language_name(code)),
            Cell(text=dataset),
            Cell(text=f"{total:,.2f}", value=total, share=100 * total / found[0][0]),
            *(number(of_split.get(split, 0.0), digits=2) for split in splits),
            number(utterances, digits=0),
        )
        for total, code, dataset, of_split, utterances in found
    ]
    shown, left_out = bounded(rows)
    return Table(
        name=name, title=f"Hours labelled by language and dataset: {labels}", rows=shown, left_out=left_out, sortable=True,
        columns=("language", "dataset", "hours", *splits, "utterances"), texts=("language", "dataset"), filterable=True,
    )  # fmt: skip


def settings(runs: Runs) -> Section:
    """Everything that was set, by run."""
    blocks = tuple(Pairs(title=name, pairs=tuple(flat(result.config))) for name, (_, result) in runs.all.items())
    return Section(id="settings", title="Settings", blocks=blocks)


def cost(runs: Runs) -> Section:
    """What the runs took and what they ran on."""
    rows = []
    for name, (_, result) in runs.all.items():
        spent, env = result.cost, result.env
        machine = ", ".join(env["gpus"]) or f"CPU, {env['threads']} threads"
        rows.append(
            (
                Cell(text=name),
                number(spent.get("train_wall_s", spent.get("wall_s", 0.0)) / 3600, digits=3),
                number(spent.get("train_rtfx", spent.get("rtfx")), digits=0),
                number(spent.get("peak_memory_gb")),
                number(spent.get("utterances"), digits=0),
                Cell(text=machine, sub=f"{env['processes']} process{'es' if env['processes'] > 1 else ''}"),
            )
        )
    total = sum(row[1].value or 0.0 for row in rows)
    table = Table(
        name="cost", title="Cost", columns=("run", "hours", "x real time", "peak memory, GB", "utterances seen", "machine"),
        rows=tuple(rows), texts=("run", "machine"), note=f"Together {total:,.3f} hours. Of labels, the clustering is not timed.",
    )  # fmt: skip
    environments = [
        Pairs(title=f"Environment of {name}", pairs=tuple(flat({"code": result.code.model_dump(), **result.env})))
        for name, (_, result) in runs.all.items()
    ]
    return Section(id="cost", title="Cost and environment", blocks=(table, *environments))
