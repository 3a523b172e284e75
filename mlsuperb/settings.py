"""From Hydra to a plain dictionary, and every problem in it at once, before anything is loaded."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from mlsuperb.experiment import signature
from mlsuperb.options import conf_dir, nearest
from mlsuperb.scoring.score import applies
from mlsuperb.types import figure_names

GROUPS = (
    "upstream",
    "cache",
    "adaptation",
    "featurizer",
    "specaug",
    "head",
    "objective",
    "task",
    "data",
    "loading",
    "decoding",
    "scoring",
    "trainer",
)
RUN_SETTINGS = ("seed", "benchmark", "output_root", "manifests", "run_name", "run_id")
BENCHMARK = ("experiment", "track", "size", "run")
TRACKS = ("mono_asr", "multi_asr", "lid", "asr_lid")
# Sizes and other things that one part knows and another is given when it is built; nobody types them.
RUNTIME = {
    "featurizer": {"num_layers", "layer_size"},
    "head": {"input_size"},
    "objective": {"input_size", "vocab_size"},
}
NOT_ARGUMENTS = ("_target_", "_partial_", "name", "card")
_MISSING = "???"


def register_resolvers() -> None:
    """`${run_signature:}`, `${num_gpus:}` (1 where there is none), and `${choose:key,{a: 1, b: 2}}`, which looks a value up
    (`default` where `key` is not in it)."""
    OmegaConf.register_new_resolver("run_signature", _run_signature, replace=True)
    OmegaConf.register_new_resolver("choose", _choose, replace=True)
    OmegaConf.register_new_resolver("num_gpus", _num_gpus, replace=True)


def _run_signature(*, _root_: DictConfig) -> str:
    raw = OmegaConf.to_container(_root_, resolve=False)
    assert isinstance(raw, dict)
    kept = OmegaConf.create({key: value for key, value in raw.items() if key not in ("run_id", "run_name", "hydra")})
    resolved = OmegaConf.to_container(kept, resolve=True)
    assert isinstance(resolved, dict)
    return signature(resolved)  # type: ignore[arg-type]


def _num_gpus() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def _choose(key: Any, table: Mapping[Any, Any]) -> Any:
    if key not in table and "default" not in table:
        raise ValueError(f"{key!r} is not one of {', '.join(map(str, table))}")
    return table.get(key, table.get("default"))


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain Python types.

    Raises:
        ValueError: it cannot be resolved.
    """
    try:
        container = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"the configuration cannot be resolved: {error}") from error
    assert isinstance(container, dict)
    return container  # type: ignore[return-value]


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration that `python -m mlsuperb.run OVERRIDES` would run.

    Raises:
        ValueError: there is no such choice or setting.
    """
    register_resolvers()
    try:
        if GlobalHydra.instance().is_initialized():  # inside a run
            return plain(hydra_compose("config", overrides=list(overrides)))
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return plain(hydra_compose("config", overrides=list(overrides)))
    except HydraException as error:
        raise ValueError(str(error)) from error


def check(config: Mapping[str, Any], groups: Sequence[str] = GROUPS) -> None:
    """Refuse a configuration that cannot run.

    Raises:
        ValueError: lists everything that is wrong with it.
    """
    if problems := find_problems(config, groups):
        listed = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, 1))
        raise ValueError(f"this configuration cannot run:\n{listed}")


def find_problems(config: Mapping[str, Any], groups: Sequence[str] = GROUPS) -> list[str]:
    """Everything that is wrong with a configuration: settings that nothing reads, missing values, wrong types and
    ranges, and whatever a part can see for itself (`problems`). Imports the parts; builds none."""
    problems = []
    for key in config:
        if key not in GROUPS and key not in RUN_SETTINGS:
            problems.append(f"nothing reads the setting '{key}'{_hint(key, (*GROUPS, *RUN_SETTINGS))}; remove it")
    problems += _benchmark_problems(config.get("benchmark"))
    seed = config.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        problems.append(f"seed={seed!r} must be a whole number from 0 to 2**32 - 1")
    for group in groups:
        node = config.get(group)
        if not isinstance(node, Mapping) or "_target_" not in node:
            problems.append(f"{group} has no _target_: choose one of its options (`python -m mlsuperb.run --help`)")
        else:
            problems += _node_problems(group, node, RUNTIME.get(group, set()))
    if not problems:
        problems += _misfits(config, groups)
    return problems


def _benchmark_problems(node: Any) -> Iterator[str]:
    """The node is written by published experiments; a table of runs believes it."""
    if node is None:
        return
    if not isinstance(node, Mapping) or set(node) != set(BENCHMARK):
        yield f"benchmark={node!r} must be null or have the keys {', '.join(BENCHMARK)}; leave it to +exp=v1/... and others"
    elif node["track"] not in TRACKS:
        yield f"benchmark.track={node['track']!r} must be one of {', '.join(TRACKS)}"


def _node_problems(path: str, node: Mapping[str, Any], runtime: set[str]) -> Iterator[str]:
    try:
        target = get_object(node["_target_"])
    except (ImportError, AttributeError, ValueError) as error:
        yield f"{path}._target_={node['_target_']} cannot be imported: {error}"
        return
    given = {key: value for key, value in node.items() if key not in NOT_ARGUMENTS}
    parameters = inspect.signature(target).parameters
    hints = _hints(target)
    before = True
    for key, value in given.items():
        if key in runtime:
            yield f"{path}.{key} is known from the other parts; remove it"
        elif key not in parameters:
            yield f"nothing reads the setting '{path}.{key}'{_hint(key, parameters, path)}; remove it"
        elif problem := _value_problem(f"{path}.{key}", value, hints.get(key, Any)):
            yield problem
        elif isinstance(value, Mapping) and "_target_" in value:
            yield from _node_problems(f"{path}.{key}", value, set())
            continue
        else:
            continue
        before = False
    for name, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        if required and name not in given and name not in runtime and not node.get("_partial_"):
            yield f"{path}.{name} is missing: give {path}.{name}=..."
            before = False
    if before:
        yield from _own_problems(target, _with_defaults(target, given))


def _own_problems(target: Any, settings: Mapping[str, Any]) -> list[str]:
    """What a part sees for itself. A check inherited by a class whose constructor takes other settings does not apply."""
    if not hasattr(target, "problems"):
        return []
    try:
        inspect.signature(target.problems).bind(**settings)
    except TypeError:
        if "problems" in vars(target):
            raise
        return []
    found: list[str] = target.problems(**settings)
    return found


def _hints(target: Any) -> dict[str, Any]:
    owner = target if dataclasses.is_dataclass(target) or not inspect.isclass(target) else target.__init__
    return get_type_hints(owner, include_extras=True)


def _value_problem(path: str, value: Any, hint: Any) -> str | None:
    if value == _MISSING:
        return f"{path} is missing: give {path}=..."
    if isinstance(value, Mapping) and "_target_" in value:
        return None
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None  # a type that pydantic cannot judge, such as a tensor
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        found = {str(detail["msg"]).lower().removeprefix("input ") for detail in error.errors()}
        reasons = sorted(reason for reason in found if "isinstance" not in reason)  # says nothing to a user
        return f"{path}={value!r} {' or '.join(reasons)}"
    return None


def _with_defaults(target: Any, given: Mapping[str, Any]) -> dict[str, Any]:
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


def _misfits(config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """Parts that are sound alone but do not go together."""
    yield from _depth_problems(config, groups)
    if not {"head", "objective", "decoding", "task", "scoring"} <= set(groups):
        return
    objective, decoder = (get_object(config[group]["_target_"]) for group in ("objective", "decoding"))
    task = get_object(config["task"]["_target_"])
    if objective.utterance_level and task.has_text:
        yield f"objective={config['objective']['name']} gives one label an utterance, task={task.name} has text; use task=lid"
    norm, linear = config["head"].get("input_norm"), getattr(get_object(config["head"]["_target_"]), "linear", False)
    if objective.utterance_level and linear and norm in ("mean", "mean_var"):
        yield (
            f"objective={config['objective']['name']} sees the mean over an utterance, of which head.input_norm={norm} and "
            f"head={config['head']['name']} leave nothing; use head.input_norm=none"
        )
    figures = figure_names(has_language=task.has_language, rates=objective.rates)
    if (chosen := config.get("trainer", {}).get("select_by", figures[0])) not in figures:
        yield f"trainer.select_by={chosen} is no figure of this validation; use one of {', '.join(figures)}"
    protocols, units = config["scoring"]["protocols"], config["task"]["units"]
    if not any(applies(protocol, task=task.name, units=units) for protocol in protocols):
        yield f"scoring.protocols={protocols} has nothing to say of task={task.name}; add v1, which always has"
    if objective.utterance_level != decoder.utterance_level:
        fitting = "argmax" if objective.utterance_level else "greedy or prefix_beam"
        yield f"decoding={config['decoding']['name']} does not read objective={config['objective']['name']}; use {fitting}"
    elif decoder.needs_attention and not objective.has_attention:
        yield (
            f"decoding={config['decoding']['name']} searches with an attention decoder, which objective="
            f"{config['objective']['name']} does not have; use decoding=prefix_beam, or objective=ctc_attention"
        )


def _depth_problems(config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """Layers that the upstream has not, where its number of blocks is known without its weights."""
    if "upstream" not in groups:
        return
    chosen = [group for group in ("upstream", "adaptation", "featurizer") if group in groups]
    targets = {group: get_object(config[group]["_target_"]) for group in chosen}
    given = {group: _with_defaults(target, config[group]) for group, target in targets.items()}
    if (depth := targets["upstream"].depth(given["upstream"])) is None:
        return
    for group in chosen:
        if hasattr(targets[group], "depth_problems"):
            yield from targets[group].depth_problems(depth, **given[group])


def _hint(name: str, known: Mapping[str, Any] | Sequence[str], path: str = "") -> str:
    close = nearest(name, known)
    prefix = f"{path}." if path else ""
    return f" (nearest: {', '.join(prefix + one for one in close)})" if close else ""
