"""Several results side by side: one row per run, what differs between their settings, the main scores."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlsuperb.scoring.comparison.run_facts import FACTS, run_facts, trained_params
from mlsuperb.scoring.comparison.seeds import RUN, Seeds, TableRun, seed_rows
from mlsuperb.scoring.comparison.selection import SEED, alike, not_science
from mlsuperb.scoring.protocols import described, known
from mlsuperb.scoring.table import ARROWS, Cells

if TYPE_CHECKING:
    from mlsuperb.scoring.result import BenchmarkResult, Metric


def runs_table(
    results: Sequence[BenchmarkResult],
    *,
    split: str = "test",
    facts: Sequence[str] = (),
    further: Mapping[str, Sequence[str]] | None = None,
    seeds: Seeds = "each",
    protocol: str | None = None,
    names: Sequence[str] = (),
) -> Cells:
    """Runs (digits of their ids), settings that differ, trained parameters, best validation loss, main scores of one protocol.

    Args:
        split: whose scores.
        facts, further: more columns: of `FACTS`; title, and a text for each result.
        seeds: `each`: one row per run, in the order given. `mean`: runs that differ in their seed only are one row, mean ± SD
            (n - 1). `each_and_mean`: one row per run, then two rows for the mean and the SD of such runs.
        protocol: whose scores; without it, the newest that every result has (`ScoringProtocol.headline`), else the oldest.
        names: of the runs, instead of the digits at the end of their ids.

    Raises:
        ValueError: there is no result, or none has the split or the protocol.
    """
    protocol = _protocol(results, protocol)
    metrics = _metrics(results, protocol, split)
    settings = _settings(results, names)
    further = {FACTS[fact]: [run_facts(one)[fact] for one in results] for fact in facts} | {**(further or {})}
    columns = _columns(protocol, metrics)
    runs = [
        TableRun(
            settings={key: values[index] for key, values in settings.items()},
            facts=(trained_params(result.num_trainable), *(texts[index] for texts in further.values())),
            loss=_best_loss(result),
            scores=tuple(found[name].value if name in found else None for name in columns),
        )
        for index, (result, found) in enumerate(zip(results, metrics, strict=True))
    ]
    rows = seed_rows(runs, groups=alike(results, but=(SEED,)) if SEED in settings else [], seeds=seeds)
    titles = (*settings, "trained", *further, "valid loss ↓", *columns.values())
    return Cells(_title(results, split, protocol), titles, rows, num_names=len(settings))


def _settings(results: Sequence[BenchmarkResult], names: Sequence[str]) -> dict[str, list[str]]:
    """Column -> for each result, the name of the run and its settings that differ."""
    different = differences(results)
    ids = [short_id(one.run_id) if different else one.run_id for one in results]
    return {RUN: [*names] or ids, **different}


def short_id(run_id: str) -> str:
    """The digits of a run's settings and seed, with which its id ends; an id that somebody chose as it is."""
    return match[0] if (match := re.search(r"(?<=-)[0-9a-f]{8}$", run_id)) else run_id


def _title(results: Sequence[BenchmarkResult], split: str, protocol: str) -> str:
    data = ", ".join(sorted({result.data.name for result in results}))
    return f"{len(results)} run{'s' if len(results) > 1 else ''} on {data}, split {split}, protocol {protocol}"


def _protocol(results: Sequence[BenchmarkResult], asked: str | None) -> str:
    if not results:
        raise ValueError("there is no finished run to make a table of")
    scored = [one.protocols.sections for one in results]
    every = list(dict.fromkeys(name for sections in scored for name in sections))
    if not every or asked not in (None, *every):
        raise ValueError(f"no run was scored with {asked or 'any protocol'}; there are {', '.join(every) or 'none'}")
    if asked is not None:
        return asked
    with_headline = [name for name, one in known().items() if one.headline and name in every]
    common = [name for name in with_headline if all(name in sections for sections in scored)]
    return common[-1] if common else [*with_headline, *every][0]


def _metrics(results: Sequence[BenchmarkResult], protocol: str, split: str) -> list[Mapping[str, Metric]]:
    """The metrics of each result; empty where it was not scored with the protocol."""
    sections = [one.protocols.sections.get(protocol) for one in results]
    found = [section.metrics if section else {} for section in sections]
    if not any(split in metrics for metrics in found):
        splits = sorted({name for metrics in found for name in metrics})
        raise ValueError(f"no run has scores of the split {split!r}; there are {', '.join(splits)}")
    return [metrics.get(split, {}) for metrics in found]


def _columns(protocol: str, metrics: Sequence[Mapping[str, Metric]]) -> dict[str, str]:
    """Metric -> column, of the protocol's headline; where nothing of it is there, of every metric that has a value."""
    valued = {name: one.better for found in metrics for name, one in found.items() if one.value is not None}
    chosen = {name: title for name, title in described(protocol).headline.items() if name in valued} or {
        name: name for name in valued
    }
    return {name: f"{title} {ARROWS[valued[name]]}" for name, title in chosen.items()}


def differences(results: Sequence[BenchmarkResult], *, but: Collection[str] = ()) -> dict[str, list[str]]:
    """Setting -> its value in each result's configuration (`config_differences`), of those that change the science.

    Args:
        but: paths of further settings that are left out.
    """
    return config_differences([one.config for one in results], hidden={*not_science(results), *but})


def config_differences(
    configs: Sequence[Mapping[str, Any]], *, hidden: Collection[str], inside: str = ""
) -> dict[str, list[str]]:
    """Setting -> its value in each configuration, of the settings that are not the same in all. Where another
    option was chosen for a group, its name stands for the settings that all runs with this option share. Another class of the
    same name, or of a node without one, has its own name in that place.

    Args:
        hidden: paths of settings that are left out.
        inside: path of the group, with a dot at its end.
    """
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for config in configs for key in config):
        path = f"{inside}{key}"
        if path in hidden or key == "card" or (inside and key == "name"):
            continue
        nodes = [config.get(key) for config in configs]
        names = [str(node.get("name")) if isinstance(node, Mapping) else _shown(key, node) for node in nodes]
        if len(set(names)) > 1:
            found[path if key != "_target_" else inside.removesuffix(".")] = names
        for name in dict.fromkeys(names):
            rows = [row for row, one in enumerate(names) if one == name and isinstance(nodes[row], Mapping)]
            groups = [configs[row][key] for row in rows]
            for setting, values in config_differences(groups, hidden=hidden, inside=f"{path}.").items():
                column = found.setdefault(setting, [""] * len(configs))
                for row, value in zip(rows, values, strict=True):
                    column[row] = value
    return found


def option_name(node: Mapping[str, Any]) -> str:
    """What a node of a configuration is called: its name, or that of its class."""
    return str(node.get("name") or _shown("_target_", node.get("_target_")))


def _shown(key: str, value: Any) -> str:
    return str(value).rpartition(".")[2] if key == "_target_" else str(value)


def _best_loss(result: BenchmarkResult) -> float | None:
    losses = [epoch["valid_loss"] for epoch in result.training.get("history", []) if "valid_loss" in epoch]
    return min(losses, default=None)
