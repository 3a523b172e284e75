"""The report of one run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from mlsuperb.analysis.languages import language_bars
from mlsuperb.analysis.report import pictures, summary, utterances
from mlsuperb.analysis.report.blocks import Figures, Page, Pairs, Section, spoken_date
from mlsuperb.analysis.report.browser import browser
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.runs import ANALYSIS, LoadedRun
from mlsuperb.analysis.stages import stored
from mlsuperb.scoring.page.blocks import Block, Cell, Note, Table, number
from mlsuperb.scoring.result import BenchmarkResult, DataRecord
from mlsuperb.scoring.table import SYNTHETIC

COSTS = {
    "iterations": "iterations (batches forward and backward)",
    "utterances": "utterances seen in training",
    "train_wall_s": "training, seconds",
    "decode_wall_s": "decoding, seconds",
    "hours": "training and decoding, hours",
    "train_rtfx": "seconds of audio per second, training (RTFx)",
    "rtfx": "seconds of audio per second, decoding (RTFx)",
    "cached_share": "share of the decoded audio whose features came from the cache",
    "peak_memory_gb": "peak memory (a GPU's with kept features), GB",
    "macs_per_s.upstream": "multiply-accumulates per second of audio, upstream",
    "macs_per_s.head": "multiply-accumulates per second of audio, everything after it",
}


def one_run_page(run: LoadedRun, *, sounds: SoundBox) -> Page:
    """Everything that the run's folder tells, and as much sound as `sounds` takes."""
    result = run.result
    sections = [
        summary.headline(run, sounds=sounds),
        summary.signatures(run),
        summary.scores(run),
        pictures.languages(run),
        pictures.datasets(run),
        pictures.training({result.run_id: result.training.get("history", [])}, result.training.get("averaged", ())),
        pictures.reasons(run),
        *([pictures.confusion(run)] if result.task.has_language else []),
        *([pictures.wrong_units(run)] if result.task.has_text else []),
        pictures.layers({result.upstream.name: result}),
        _embeddings(run),
        utterances.examples(run, sounds=sounds),
        Section(id="find", title="All utterances", blocks=(browser(run, sounds=sounds),)),
        Section(id="data", title="Data and what was skipped", blocks=tuple(data_blocks(result.data))),
        _settings(result.config),
        _cost(result),
    ]
    bars = language_bars(run.languages, rate=run.rate)
    return Page(
        title=result.run_id,
        subtitle=f"{result.upstream.name}, {result.adaptation.name}, {result.task.name}, {spoken_date(result.date)}",
        sections=tuple(sections),
        banner=SYNTHETIC if result.synthetic else "",
        more=(bars,) if bars else (),
    )


def _embeddings(run: LoadedRun) -> Section:
    """t-SNE and nearest neighbours by stage, where `mlsuperb analyse` has left them."""
    found, command = stored(run.folder / ANALYSIS), f"mlsuperb analyse tsne {run.folder}"
    blocks: list[Block] = [Figures(charts=found.charts, wide=True)] if found else []
    if not found:
        text = (
            f"There are no t-SNE and nearest neighbours by layer yet. Run {command} (with --all-layers for every layer of the "
            "upstream, not only the last), then make this report again."
        )
        blocks = [Note(text=text)]
    elif found.made_of["hypotheses"] != run.result.hypotheses.sha256:
        text = f"These figures were made from other hypotheses than this result; run {command} to make them again."
        blocks.insert(0, Note(text=text, tone="warning"))
    return Section(id="embeddings", title="Language in the layers", blocks=tuple(blocks))


def data_blocks(data: DataRecord, *, name: str = "") -> list[Block]:
    """Splits with their hashes, and what was skipped. `name`: added to the names of the tables, where a page has several data."""
    splits = Table(
        name=f"splits{name}",
        title=f"Data {data.name}",
        columns=("split", "utterances", "hours", "sha256"),
        rows=tuple(
            (
                Cell(text=split),
                number(one.num_utterances, digits=0),
                number(one.duration_s / 3600, digits=2),
                Cell(text=(one.sha256 or "")[:18]),
            )
            for split, one in data.splits.items()
        ),
        texts=("split", "sha256"),
    )
    blocks: list[Block] = [splits]
    if release := data.release:
        blocks.append(
            Note(text=f"Release {release.name}, {'complete' if release.whole else f'incomplete: {release.why}'}.")
        )
    blocks.append(_skipped(data.skipped, f"skipped{name}") if data.skipped else Note(text="Nothing was skipped."))
    return blocks


def _skipped(skipped: Mapping[str, Any], name: str) -> Table:
    timed = any("seconds" in entry for entry in skipped.values())
    return Table(
        name=name,
        title="Skipped",
        columns=("reason", "number", *(["hours lost"] if timed else []), "splits", "such as"),
        rows=tuple(
            (
                Cell(text=reason),
                number(entry["count"], digits=0),
                *([_hours_lost(entry)] if timed else []),
                Cell(text=", ".join(f"{split} {num:,}" for split, num in entry.get("splits", {}).items())),
                Cell(text=", ".join(map(str, entry.get("examples", [])))),
            )
            for reason, entry in skipped.items()
        ),
        texts=("reason", "splits", "such as"),
    )


def _hours_lost(entry: Mapping[str, Any]) -> Cell:
    """Of a reason; what is kept in another form is not lost."""
    if "seconds" not in entry:
        return Cell(text="not known", tone="weak")
    hours = sum(entry["seconds"].values()) / 3600
    return Cell(text="0.00", value=0.0, sub=f"{hours:,.2f} kept") if entry.get("kept") else number(hours, digits=2)


def _settings(config: Mapping[str, Any]) -> Section:
    """Everything that was set, by group."""
    groups = {name: node for name, node in config.items() if isinstance(node, Mapping)}
    plain = tuple((name, _shown(node)) for name, node in config.items() if name not in groups)
    blocks = [Pairs(title="run", pairs=plain)]
    for name, node in groups.items():
        title = f"{name}: {node['name']}" if "name" in node else name
        blocks.append(Pairs(title=title, pairs=tuple(flat(node))))
    return Section(id="settings", title="Settings", blocks=tuple(blocks))


def _cost(result: BenchmarkResult) -> Section:
    """What the run took and what it ran on."""
    cost, macs = dict(result.cost), result.cost.get("macs_per_s") or {}
    cost.pop("macs_per_s", None)
    cost |= {f"macs_per_s.{part}": number for part, number in macs.items()}
    shown = [
        (COSTS.get(name, name), rounded(value) if isinstance(value, (int, float)) else _shown(value))
        for name, value in cost.items()
    ]
    trained = tuple((name, f"{num:,}") for name, num in result.adaptation.trained.items())
    environment = {"code": result.code.model_dump(), **result.env}
    blocks = (
        Pairs(title="Cost", pairs=tuple(shown), closed=False),
        Pairs(title="Trained parameters", pairs=trained),
        Pairs(title="Environment", pairs=tuple(flat(environment))),
    )
    return Section(id="cost", title="Cost and environment", blocks=blocks)


def rounded(value: float) -> str:
    """Three digits that count, all of a whole number: `65.1`, `0.00123`, `8,070,000,000`."""
    if isinstance(value, int) or value.is_integer() or not math.isfinite(value):
        return f"{value:,.0f}" if math.isfinite(value) else str(value)
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def flat(node: Mapping[str, Any], *, inside: str = "") -> Iterator[tuple[str, str]]:
    """Settings as `a.b.c` and text."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, inside=f"{inside}{name}.")
        else:
            yield f"{inside}{name}", _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) if value else "[]"
    return "null" if value is None else str(value)
