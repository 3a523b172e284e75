"""Data, skipped data, settings, cost, environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlsuperb.analysis.report.blocks import Block, Cell, Note, Pairs, Section, Table, number
from mlsuperb.analysis.report.loaded import LoadedRun


def data(run: LoadedRun) -> Section:
    """Splits with their hashes, and what was passed over."""
    record = run.result["data"]
    splits = Table(
        name="splits",
        title=f"Data {record['name']}",
        columns=("split", "utterances", "hours", "sha256"),
        rows=tuple(
            (
                Cell(text=name),
                number(split.get("num_utterances"), digits=0),
                number(None if split.get("duration_s") is None else split["duration_s"] / 3600, digits=2),
                Cell(text=str(split.get("sha256", ""))[:18]),
            )
            for name, split in record["splits"].items()
        ),
        numeric=(False, True, True, False),
    )
    blocks: list[Block] = [splits]
    if release := record.get("release"):
        whole = "whole" if release.get("whole") else f"not whole: {release.get('why', '')}"
        blocks.append(Note(text=f"Release {release.get('name')}, {whole}."))
    skipped = record.get("skipped") or {}
    if not skipped:
        blocks.append(Note(text="Nothing was skipped."))
    else:
        blocks.append(_skipped(skipped))
    return Section(id="data", title="Data and what was skipped", blocks=tuple(blocks))


def _skipped(skipped: Mapping[str, Any]) -> Table:
    return Table(
        name="skipped",
        title="Skipped",
        columns=("reason", "number", "splits", "such as"),
        rows=tuple(
            (
                Cell(text=reason),
                number(entry["count"], digits=0),
                Cell(text=", ".join(f"{split} {num:,}" for split, num in entry.get("splits", {}).items())),
                Cell(text=", ".join(map(str, entry.get("examples", [])))),
            )
            for reason, entry in skipped.items()
        ),
        numeric=(False, True, False, False),
    )


def settings(run: LoadedRun) -> Section:
    """Everything that was set, by group."""
    plain: list[tuple[str, str]] = []
    blocks: list[Block] = []
    for name, node in run.result["config"].items():
        if isinstance(node, Mapping):
            title = f"{name}: {node['name']}" if "name" in node else name
            blocks.append(Pairs(title=title, pairs=tuple(flat(node))))
        else:
            plain.append((name, _shown(node)))
    return Section(id="settings", title="Settings", blocks=(Pairs(title="run", pairs=tuple(plain)), *blocks))


def cost(run: LoadedRun) -> Section:
    """What the run took and what it ran on."""
    result = run.result
    environment = {"code": result["code"], **result["env"]}
    trained = result["adaptation"].get("trained", {})
    return Section(
        id="cost",
        title="Cost and environment",
        blocks=(
            Pairs(title="Cost", pairs=tuple(_costs(result["cost"])), closed=False),
            Pairs(title="Trained parameters", pairs=tuple((name, f"{num:,}") for name, num in trained.items())),
            Pairs(title="Environment", pairs=tuple(flat(environment))),
        ),
    )


def _costs(cost: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    names = {
        "iterations": "iterations (batches forward and backward)",
        "utterances": "utterances seen in training",
        "train_wall_s": "training, seconds",
        "decode_wall_s": "decoding, seconds",
        "hours": "training and decoding, hours",
        "train_rtfx": "seconds of audio a second, training (RTFx)",
        "rtfx": "seconds of audio a second, decoding (RTFx)",
        "cached_share": "share of the decoded audio whose features came from the cache",
        "peak_memory_gb": "peak memory, GB",
        "macs_per_s.upstream": "multiply-accumulates for a second of audio, upstream",
        "macs_per_s.head": "multiply-accumulates for a second of audio, all that follows",
    }
    macs = {f"macs_per_s.{part}": number for part, number in (cost.get("macs_per_s") or {}).items()}
    for name, value in {**{name: value for name, value in cost.items() if name != "macs_per_s"}, **macs}.items():
        yield names.get(name, name), f"{value:,}" if isinstance(value, (int, float)) else _shown(value)


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
