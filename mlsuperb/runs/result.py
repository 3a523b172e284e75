"""What every finished run leaves as `result.json`, whatever its job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mlsuperb.runs.environment import now
from mlsuperb.runs.identity import NOT_SCIENCE_BEFORE, not_science

SCHEMA_VERSION = 1


class Record(BaseModel):
    """Named values of a result file. What it does not know it keeps, so that a file of a newer version loses nothing."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class Code(Record):
    """Where the code stood: the commit of a checkout and whether it was changed; null for an installed package."""

    commit: str | None
    dirty: bool | None
    package_version: str


class Input(Record):
    """A run that this one took something from."""

    run_id: str
    sha256: str


class Result(Record):
    """One run's result. A job's own kind adds to it.

    Attributes:
        not_science: paths of the settings that do not change which run it is (`runs.identity`).
        inputs: what the run took in from other runs, by name.
        training: history by epoch, counts.
        cost: time, memory, speed. Those of a training are of all its starts; those of decoding and of labelling are of the last
            start alone, without what an earlier one had done (0 s and null where that was everything).
    """

    kind: ClassVar[str] = ""  # the job whose results these are; empty for any

    schema_version: int
    job: str = "benchmark"  # of results from before there were jobs
    run_id: str
    status: str
    config: dict[str, Any]
    not_science: tuple[str, ...] = NOT_SCIENCE_BEFORE
    seed: int
    code: Code
    env: dict[str, Any]
    inputs: dict[str, Input] = Field(default_factory=dict)
    training: dict[str, Any]
    cost: dict[str, Any]
    date: str


Kind = TypeVar("Kind", bound=Result)


def what_ran(
    config: Mapping[str, Any], environment: Mapping[str, Any], *, job: str, inputs: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The part of a result that is the same for every job; `training` and `cost` are the job's own to add.

    Args:
        environment: of the process (`mlsuperb.runs.environment.environment`).
        inputs: runs that this one took something from, as `Result.inputs` has them.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "job": job,
        "run_id": config["run_id"],
        "status": "finished",
        "config": config,
        "not_science": not_science(config),
        "seed": config["seed"],
        "code": {**environment["code"], "package_version": environment["package_version"]},
        "env": {key: value for key, value in environment.items() if key not in ("code", "package_version")},
        "inputs": dict(inputs or {}),
        "date": now(),
    }
