"""Build the object that a node of the configuration describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate as hydra_instantiate

from mlsuperb.runs.job import Job

NOT_ARGUMENTS = ("_target_", "_partial_", "name", "card")


def instantiate(node: Mapping[str, Any], **runtime: Any) -> Any:
    """Build the object that a node describes; `runtime` holds what only the running program knows.

    Raises:
        ValueError: the part refuses its settings, or cannot be loaded.
    """
    assert not runtime.keys() & node.keys(), "checked before: a runtime argument is never a setting"
    try:
        return hydra_instantiate(_arguments(node), _convert_="all", **runtime)
    except InstantiationException as error:
        if isinstance(error.__cause__, (ValueError, OSError)):  # a part's own words, without Hydra's around them
            raise error.__cause__ from None
        raise


def _arguments(node: Any) -> Any:
    """A node without its name and card, those of the nodes in it left out as well."""
    if not isinstance(node, Mapping):
        return node
    left_out = {*NOT_ARGUMENTS} - {"_target_", "_partial_"} if "_target_" in node else set()
    return {key: _arguments(value) for key, value in node.items() if key not in left_out}


def job_of(config: Mapping[str, Any]) -> Job:
    """The job that a configuration chooses."""
    job: Job = instantiate(config["job"])
    return job
