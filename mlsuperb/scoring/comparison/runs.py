"""Several results side by side: one row a run, what differs between their settings, the main scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from mlsuperb.scoring.comparison.run_facts import run_facts, trained_params
from mlsuperb.scoring.comparison.seeds import Seeds, TableRun, seed_rows
from mlsuperb.scoring.comparison.selection import SEED, alike
from mlsuperb.scoring.table import ARROWS, Cells

Fact = Literal["params", "memory", "hours", "rtfx", "macs", "overlap"]
# What `--show` takes -> key of `run_facts`, column; "trained" is always there
FACTS: Mapping[Fact, tuple[str, str]] = {
    "params": ("total", "total"),
    "memory": ("memory", "peak memory"),
    "hours": ("hours", "hours"),
    "rtfx": ("rtfx", "RTFx"),
    "macs": ("macs", "MACs/s"),
    "overlap": ("overlap", "pre-training overlap"),
}
MAIN_METRICS = {  # by protocol: metric -> column
    "v1": {
        "trained_cer": "CER",
        "reserved_cer": "few-shot CER",
        "trained_lid_accuracy": "LID",
        "reserved_lid_accuracy": "few-shot LID",
    },
    "v2": {
        "trained_macro_cer": "CER",
        "trained_std_cer": "SD",
        "trained_worst_language_cer": "worst",
        "reserved_macro_cer": "few-shot CER",
        "trained_lid_accuracy": "LID",
    },
}


def runs_table(
    results: Sequence[Mapping[str, Any]],
    *,
    hidden: Collection[str],
    split: str = "test",
    facts: Sequence[Fact] = (),
    seeds: Seeds = "each",
) -> Cells:
    """Settings that differ, trained parameters, best validation loss, and the main scores of v2 where every result has
    them, else of v1.

    Args:
        hidden: settings that are no column, whatever they are (`run_id`, `trainer.device`).
        split: whose scores.
        facts: further columns (`run_facts`).
        seeds: `each`: a row a run, in the order given. `mean`: runs that differ in their seed only are one row, mean ± SD
            (n - 1). `each_and_mean`: a row a run, then two rows for the mean and the SD of such runs.

    Raises:
        ValueError: there is none, or none has the split.
    """
    if not results:
        raise ValueError("there is no finished run to make a table of")
    protocol = "v2" if all("v2" in result["protocols"] for result in results) else "v1"
    settings = differences([result["config"] for result in results], hidden=hidden) or {
        "run": [one["run_id"] for one in results]
    }
    metrics = [one["protocols"].get(protocol, {}).get("metrics", {}).get(split, {}) for one in results]
    if not any(metrics):
        known = sorted({name for one in results for name in one["protocols"][protocol]["metrics"]})
        raise ValueError(f"no run has scores of the split {split!r}; there are {', '.join(known)}")
    columns = {
        name: f"{title} {ARROWS[next(found[name]['better'] for found in metrics if name in found)]}"
        for name, title in MAIN_METRICS[protocol].items()
        if any(_value(found, name) is not None for found in metrics)
    }
    runs = [
        TableRun(
            settings={key: values[index] for key, values in settings.items()},
            facts=_facts(result, facts),
            loss=_best_loss(result),
            scores=tuple(_value(found, name) for name in columns),
        )
        for index, (result, found) in enumerate(zip(results, metrics, strict=True))
    ]
    groups = alike(results, hidden=hidden, but=(SEED,)) if SEED in settings else []
    rows = seed_rows(runs, groups=groups, seeds=seeds)
    data = ", ".join(sorted({result["data"]["name"] for result in results}))
    title = f"{len(results)} run{'s' if len(results) > 1 else ''} on {data}, split {split}, protocol {protocol}"
    titles = (*settings, "trained", *(FACTS[fact][1] for fact in facts), "valid loss ↓", *columns.values())
    return Cells(title, titles, rows, num_names=len(settings))


def _facts(result: Mapping[str, Any], names: Sequence[Fact]) -> tuple[str, ...]:
    known = run_facts(result) if names else {}
    return (trained_params(result["num_trainable"]), *(known[FACTS[name][0]] for name in names))


def differences(
    configs: Sequence[Mapping[str, Any]], *, hidden: Collection[str], inside: str = ""
) -> dict[str, list[str]]:
    """Setting -> its value in each configuration, of the settings that are not the same in all. Where another
    option was chosen for a group, its name stands for the settings that all runs with this option share.

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
            found[path] = names
        for name in dict.fromkeys(names):
            rows = [row for row, one in enumerate(names) if one == name and isinstance(nodes[row], Mapping)]
            groups = [configs[row][key] for row in rows]
            for setting, values in differences(groups, hidden=hidden, inside=f"{path}.").items():
                column = found.setdefault(setting, [""] * len(configs))
                for row, value in zip(rows, values, strict=True):
                    column[row] = value
    return found


def _shown(key: str, value: Any) -> str:
    return str(value).rpartition(".")[2] if key == "_target_" else str(value)


def _value(metrics: Mapping[str, Any], name: str) -> float | None:
    value: float | None = metrics.get(name, {}).get("value")
    return value


def _best_loss(result: Mapping[str, Any]) -> float | None:
    losses = [epoch["valid_loss"] for epoch in result["training"].get("history", []) if "valid_loss" in epoch]
    return min(losses, default=None)
