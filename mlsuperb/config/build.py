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
    arguments = {
        key: value for key, value in node.items() if key in ("_target_", "_partial_") or key not in NOT_ARGUMENTS
    }
    try:
        return hydra_instantiate(arguments, _convert_="all", **runtime)
    except InstantiationException as error:
        if isinstance(error.__cause__, (ValueError, OSError)):  # a part's own words, without Hydra's around them
            raise error.__cause__ from None
        raise


def job_of(config: Mapping[str, Any]) -> Job:
    """The job that a configuration chooses."""
    job: Job = instantiate(config["job"])
    return job
