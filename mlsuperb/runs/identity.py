"""Which run a configuration is: the settings that change the science, and eight hex digits of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlsuperb.runs.classes import class_named

# Settings of every run that do not change the science: its names, where runs lie, how they are launched and scored. What a
# part can leave out of the identity it declares itself, by a class attribute `not_science` that names some of its settings.
NOT_SCIENCE = ("run_id", "run_name", "job", "benchmark", "output_root", "manifests", "hydra", "scoring")
# What the parts declared when results did not yet say it.
NOT_SCIENCE_BEFORE = (
    *NOT_SCIENCE,
    "cache.folder",
    "cache.max_gb",
    "cache.device_gb",
    "trainer.device",
    "trainer.parallel",
    "trainer.compile",
    "trainer.optimizer.fused",
    "adaptation.gradient_checkpointing",
    "trainer.max_trainable_params",
    "trainer.log_every",
    "trainer.checkpoint_every",
    "trainer.trackers",
    "loading.num_workers",
    "loading.keep_audio_gb",
)
# Modules that moved after runs were made with them. The identity keeps the first address, so that old runs keep their ids;
# configurations with the first address still work.
MOVED = {"mlsuperb.featurizer": "mlsuperb.heads.featurizer", "mlsuperb.specaug": "mlsuperb.heads.specaug"}

# Settings that are newer than existing runs, with the value that those runs had. At this value a setting is left out of the
# configuration, so that a run keeps its id and stays comparable with earlier ones.
LATER: dict[tuple[str, ...], Any] = {
    ("upstream", "conventions"): "checkpoint",
    ("data", "path"): None,
    ("data", "codes"): None,
    ("data", "held_out"): None,
    ("data", "phones", "map"): None,
    ("data", "columns", "split"): "split",
}


def not_science(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths of the settings of `config` that do not count, such as `trainer.device`. Imports the parts; one that cannot or may
    not be imported (`mlsuperb.runs.classes`) declares nothing."""
    return (*NOT_SCIENCE, *_declared(config, ""))


def _declared(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name in getattr(_class(node.get("_target_")), "not_science", ()):
        yield f"{prefix}{name}"
    for key, value in node.items():
        if isinstance(value, Mapping) and f"{prefix}{key}" not in NOT_SCIENCE:
            yield from _declared(value, f"{prefix}{key}.")


def _class(target: Any) -> Any:
    try:
        return class_named(target) if target else None
    except ValueError:  # a user's own, in a folder that is not given now
        return None


def science(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that make a run what it is: `config` without what does not count and without cards and names. A setting
    called `run` is the folder of another run, and counts by its name, which ends in that run's signature."""
    before = _with_targets(config, {new: old for old, new in MOVED.items()})
    stripped: dict[str, Any] = without(before, set(not_science(config)))
    return stripped


def without(node: Any, left_out: Collection[str], *, prefix: str = "") -> Any:
    """A configuration without the settings at the paths `left_out`, and without cards and names (see `science`)."""
    if not isinstance(node, Mapping):
        return node
    kept = {
        key: _run_name(value) if key == "run" else without(value, left_out, prefix=f"{prefix}{key}.")
        for key, value in node.items()
        if f"{prefix}{key}" not in left_out
    }
    return {key: value for key, value in kept.items() if not (prefix and key in ("name", "card"))}


def _run_name(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) else value


def without_later(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` without the settings of `LATER` that stand at the value of earlier runs."""
    found = dict(config)
    for path, before in LATER.items():
        found = _without_one(found, path, before)
    return found


def _without_one(node: Mapping[str, Any], path: tuple[str, ...], before: Any) -> dict[str, Any]:
    name, *inner = path
    if inner and isinstance(node.get(name), Mapping):
        return {**node, name: _without_one(node[name], tuple(inner), before)}
    return {key: value for key, value in node.items() if inner or key != name or value != before}


def present(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the present addresses of classes that have moved."""
    found: dict[str, Any] = _with_targets(config, MOVED)
    return found


def _with_targets(node: Any, modules: Mapping[str, str]) -> Any:
    if not isinstance(node, Mapping):
        return node
    changed = {key: _with_targets(value, modules) for key, value in node.items()}
    if isinstance(target := changed.get("_target_"), str):
        module, _, name = target.rpartition(".")
        changed["_target_"] = f"{modules.get(module, module)}.{name}" if module else target
    return changed


def signature(config: Mapping[str, Any]) -> str:
    """Eight hex digits of the settings that change the science (the idea is Dora's), taken from the whole resolved
    configuration, so that a changed default never gives an old run's name to a new one."""
    text = json.dumps(science(config), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
