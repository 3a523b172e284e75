"""Build the object that a node of the configuration describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mlsuperb.runs.classes import PARTIAL, TARGET, class_named
from mlsuperb.runs.job import Job

NOT_ARGUMENTS = (TARGET, PARTIAL, "name", "card")


def instantiate(node: Mapping[str, Any], **runtime: Any) -> Any:
    """Build the object that a node describes, after those of the nodes in it; `runtime` holds what only the running program
    knows. Names and cards are no arguments. Values are taken as they are: what a configuration refers to (`${...}`) was looked
    up when it was composed, and is never looked up in one that was stored.

    Raises:
        ValueError: the part refuses its settings, cannot be loaded, or may not be built (`mlsuperb.runs.classes`).
    """
    if not isinstance(node, Mapping) or TARGET not in node:
        raise ValueError(f"{node!r} in the configuration names no class to build (_target_)")
    assert not runtime.keys() & node.keys(), "checked before: a runtime argument is never a setting"
    arguments = {key: _built(value) for key, value in node.items() if key not in NOT_ARGUMENTS}
    target = class_named(node[TARGET])
    return partial(target, **arguments, **runtime) if node.get(PARTIAL) else target(**arguments, **runtime)


def _built(value: Any) -> Any:
    """A setting, with the nodes in it built."""
    if isinstance(value, Mapping):
        return instantiate(value) if TARGET in value else {key: _built(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_built(one) for one in value]
    return value


def job_of(config: Mapping[str, Any]) -> Job:
    """The job that a configuration chooses."""
    job: Job = instantiate(config["job"])
    return job
