"""Every problem of a configuration at once, before anything is loaded."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from mlsuperb.config.build import NOT_ARGUMENTS
from mlsuperb.config.options import nearest
from mlsuperb.runs.classes import class_named
from mlsuperb.runs.job import Job

RUN_SETTINGS = ("seed", "job", "output_root", "manifests", "run_name", "run_id")
_MISSING = "???"


def job_class(config: Mapping[str, Any]) -> type[Job]:
    """The job of a configuration.

    Raises:
        ValueError: it names none.
    """
    node = config.get("job")
    try:
        found: type[Job] = class_named(node["_target_"])  # type: ignore[index]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"job={node} names no job: choose one of conf/job/ (job=benchmark); {error}") from error
    return found


def check(config: Mapping[str, Any], groups: Sequence[str] | None = None) -> None:
    """Refuse a configuration that cannot run; with `groups`, look at these alone.

    Raises:
        ValueError: lists everything that is wrong with it.
    """
    if problems := find_problems(config, groups):
        listed = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, 1))
        raise ValueError(f"this configuration cannot run:\n{listed}")


def check_finished(config: Mapping[str, Any]) -> None:
    """Refuse settings of a finished run that cannot be used, of those that still count: how it is scored. Its data may be gone.

    Raises:
        ValueError: lists everything that is wrong with it.
    """
    check(config, [group for group in ("task", "scoring") if group in job_class(config).groups])


def check_stored(config: Mapping[str, Any], groups: Sequence[str], *, place: Path) -> None:
    """Refuse a configuration that was read from the folder of a run, of which parts of `groups` will be built for its trained
    model; of the trainer only device and precision are looked at.

    Raises:
        ValueError: it was edited so that they cannot be; names `place`.
    """
    trainer = config.get("trainer")
    known = isinstance(trainer, Mapping) and {"device", "precision"} <= trainer.keys()
    problems = [] if known else ["trainer.device and trainer.precision are missing"]
    if problems := [*problems, *_group_problems(config, groups, job_class(config))]:
        raise ValueError(f"{place} was edited and cannot be used: {'; '.join(problems)}. Restore a copy of it")


def find_problems(config: Mapping[str, Any], groups: Sequence[str] | None = None) -> list[str]:
    """Everything that is wrong with a configuration: settings that nothing reads, missing values, wrong types and
    ranges, and whatever a part can see for itself (`problems`). Imports the parts; builds none."""
    job = job_class(config)
    known = (*job.groups, *job.settings, *RUN_SETTINGS)
    problems = [
        f"nothing reads the setting '{key}'{_hint(key, known)}; remove it" for key in config if key not in known
    ]
    seed = config.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        problems.append(f"seed={seed!r} must be a whole number from 0 to 2**32 - 1")
    for name in ("run_name", "run_id"):
        if "/" in (value := str(config.get(name, ""))):
            problems.append(
                f"{name}={value} has a '/', so that its folder would lie in another one, where no table finds it: give "
                "output_root=FOLDER run_name=NAME"
            )
            break
    chosen = job.groups if groups is None else groups
    problems += _group_problems(config, chosen, job)
    return problems or list(job.misfits(config, chosen))


def _group_problems(config: Mapping[str, Any], groups: Sequence[str], job: type[Job]) -> Iterator[str]:
    """What is wrong with the parts of some groups, each by itself."""
    for group in groups:
        node = config.get(group)
        if node is None and group in job.optional:
            continue
        if not isinstance(node, Mapping) or "_target_" not in node:
            yield f"{group} has no _target_: choose one of its options (`python -m mlsuperb.run --help`)"
        else:
            yield from _node_problems(group, node, job.runtime.get(group, frozenset()))


def _node_problems(path: str, node: Mapping[str, Any], runtime: Collection[str]) -> Iterator[str]:
    try:
        target = class_named(node["_target_"])
    except ValueError as error:
        yield f"{path}._target_: {error}"
        return
    given = {key: value for key, value in node.items() if key not in NOT_ARGUMENTS}
    parameters = inspect.signature(target).parameters
    hinted = target if dataclasses.is_dataclass(target) or not inspect.isclass(target) else target.__init__
    hints = get_type_hints(hinted, include_extras=True)
    before = True
    for key, value in given.items():
        if key in runtime:
            yield f"{path}.{key} is known from the other parts; remove it"
        elif key not in parameters:
            hint = f"{_hint(key, parameters, path)}; remove it (~{path}.{key}, where an experiment gives it)"
            yield f"nothing reads the setting '{path}.{key}'{hint}"
        elif nested := _nested(f"{path}.{key}", value):
            for place, inner in nested.items():
                for found in _node_problems(place, inner, ()):
                    yield found if place in found else f"{place}: {found}"
            continue
        elif problem := _value_problem(f"{path}.{key}", value, hints.get(key, Any)):
            yield problem
        else:
            continue
        before = False
    for name, parameter in parameters.items():
        open_ended = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        required = parameter.default is parameter.empty and not open_ended
        if required and name not in given and name not in runtime and not node.get("_partial_"):
            yield f"{path}.{name} is missing: give {path}.{name}=..."
            before = False
    if before:
        yield from _own_problems(target, with_defaults(target, given))


def _nested(path: str, value: Any) -> dict[str, Mapping[str, Any]]:
    """The nodes in a setting, by their paths: the setting itself, or all values of a mapping."""
    if not isinstance(value, Mapping):
        return {}
    inner = {path: value} if "_target_" in value else {f"{path}.{key}": one for key, one in value.items()}
    return inner if all(isinstance(one, Mapping) and "_target_" in one for one in inner.values()) else {}


def _own_problems(target: Any, settings: Mapping[str, Any]) -> list[str]:
    """What a part sees for itself. A check inherited by a class whose constructor takes other settings does not apply."""
    if not hasattr(target, "problems"):
        return _optimizer_problems(target, settings)
    try:
        inspect.signature(target.problems).bind(**settings)
    except TypeError:
        if "problems" in vars(target):
            raise
        return []
    found: list[str] = target.problems(**settings)
    return found


def _optimizer_problems(target: Any, settings: Mapping[str, Any]) -> list[str]:
    """What an optimiser of torch refuses when it is made, which loads torch's compiler."""
    if not target.__module__.startswith("torch.optim"):
        return []
    names = ("lr", "eps", "weight_decay", "momentum")
    negative = {
        name: settings[name] for name in names if isinstance(settings.get(name), (int, float)) and settings[name] < 0
    }
    found = [f"{target.__name__}: {name}={value} is negative" for name, value in negative.items()]
    if any(not 0 <= beta < 1 for beta in settings.get("betas", ())):
        found.append(f"{target.__name__}: betas={list(settings['betas'])} must be from 0 to below 1")
    return found


def _value_problem(path: str, value: Any, hint: Any) -> str | None:
    if value == _MISSING:
        return f"{path} is missing: give {path}=..."
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None  # a type that pydantic cannot judge, such as a tensor
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        found = {str(detail["msg"]).lower().removeprefix("input ") for detail in error.errors()}
        reasons = sorted(reason for reason in found if "isinstance" not in reason)  # says nothing to a user
        return f"{path}={value!r} {' or '.join(reasons) or 'is not what this setting takes'}"
    return None


def with_defaults(target: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `target`: those given, and its own defaults for the others."""
    settings = {}
    factories = {
        field.name: field.default_factory
        for field in (dataclasses.fields(target) if dataclasses.is_dataclass(target) else ())
        if field.default_factory is not dataclasses.MISSING
    }
    for name, parameter in inspect.signature(target).parameters.items():
        if name in given:
            settings[name] = given[name]
        elif name in factories:
            settings[name] = factories[name]()
        elif parameter.default is not parameter.empty:
            settings[name] = parameter.default
    return settings


def _hint(name: str, known: Mapping[str, Any] | Sequence[str], path: str = "") -> str:
    close = nearest(name, known)
    prefix = f"{path}." if path else ""
    return f" (nearest: {', '.join(prefix + one for one in close)})" if close else ""
