"""Parts of a benchmark run that are sound alone but do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlsuperb.benchmark.frames import card_problems
from mlsuperb.config.build import instantiate
from mlsuperb.config.check import with_defaults
from mlsuperb.decoding.base import Decoder
from mlsuperb.objectives.base import Objective
from mlsuperb.runs.classes import class_named
from mlsuperb.training.settings import select_misfits
from mlsuperb.types import figure_names

BENCHMARK = ("experiment", "track", "size", "run")
CONVENTIONS = "conventions"  # of the upstreams of the published rows; an experiment need not say it
TRACKS = ("mono_asr", "multi_asr", "lid", "asr_lid")


def misfits(config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """See `Job.misfits`."""
    yield from _benchmark_problems(config.get("benchmark"))
    yield from _depth_problems(config, groups)
    if not {"head", "objective", "decoding", "task", "scoring"} <= set(groups):
        return
    objective, decoder = (class_named(config[group]["_target_"]) for group in ("objective", "decoding"))
    task = class_named(config["task"]["_target_"])
    if objective.utterance_level:
        yield from _classifier_problems(config, has_text=task.has_text)
    facts = instantiate(config["task"]).facts
    if facts.has_text and facts.units != "phone" and (config.get("data") or {}).get("phones"):
        yield (
            f"data.phones makes phones of the transcripts, and task.units={facts.units} would take them for text: set "
            "task.units=phone task.normaliser=raw, or leave data.phones out"
        )
    yield from objective.misfits(config["objective"], head=config["head"], task=facts)
    if "upstream" in groups and task.has_text and not objective.utterance_level:
        yield from card_problems(config)
    figures = figure_names(has_language=task.has_language, rates=objective.rates)
    yield from select_misfits(config, groups, figures=figures)
    if reason := instantiate(config["scoring"]).why_nothing(facts):
        yield (
            f"scoring={config['scoring']['name']} cannot score task={task.name}: {reason}; add v1 to scoring.protocols, "
            "which scores every task"
        )
    yield from _decoder_problems(config, objective, decoder)


def _classifier_problems(config: Mapping[str, Any], *, has_text: bool) -> Iterator[str]:
    """A classifier of utterances for a task with text, or behind a head that takes away what it looks at."""
    name, head = config["objective"]["name"], config["head"]
    if has_text:
        yield f"objective={name} gives one label per utterance, task={config['task']['name']} has text; use task=lid"
    by_mean = config["objective"].get("pooling", "mean") == "mean"
    linear = getattr(class_named(head["_target_"]), "linear", False)
    if by_mean and linear and head.get("input_norm") in ("mean", "mean_var"):
        yield (
            f"objective={name} sees the mean over an utterance, of which head.input_norm={head['input_norm']} and "
            f"head={head['name']} leave nothing; use head.input_norm=none"
        )


def _decoder_problems(config: Mapping[str, Any], objective: type[Objective], decoder: type[Decoder]) -> Iterator[str]:
    """A decoder that does not read what the objective gives."""
    if objective.utterance_level != decoder.utterance_level:
        fitting = "argmax" if objective.utterance_level else "greedy or prefix_beam"
        yield f"decoding={config['decoding']['name']} does not read objective={config['objective']['name']}; use {fitting}"
    elif decoder.needs_attention and not objective.has_attention:
        yield (
            f"decoding={config['decoding']['name']} searches with an attention decoder, which objective="
            f"{config['objective']['name']} does not have; use decoding=prefix_beam, or objective=ctc_attention"
        )


def _depth_problems(config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """Blocks and layers that the upstream does not have, where their number is known without its weights."""
    if "upstream" not in groups:
        return
    chosen = [group for group in ("upstream", "adaptation", "featurizer") if group in groups]
    targets = {group: class_named(config[group]["_target_"]) for group in chosen}
    given = {group: with_defaults(target, config[group]) for group, target in targets.items()}
    if (depth := targets["upstream"].depth(given["upstream"])) is None:
        return
    num_layers = targets["upstream"].layer_count(given["upstream"])
    if problem := other_model(config["upstream"], num_layers=num_layers):
        yield problem
    for group in chosen:
        if hasattr(targets[group], "depth_problems"):
            yield from targets[group].depth_problems(depth, **given[group])
        if hasattr(targets[group], "layer_problems"):
            yield from targets[group].layer_problems(num_layers, **given[group])


def other_model(upstream: Mapping[str, Any], *, num_layers: int | None, layer_size: int | None = None) -> str | None:
    """What is to be said where weights under the name of a published model are not of its shape: results would carry its name,
    its corpora and its licence. An input layer more or less (XEUS) is a setting."""
    card = upstream.get("card") or {}
    layers, size = card.get("layers"), card.get("size")
    if "checkpoint" not in upstream or layers is None or num_layers is None:
        return None
    if abs(num_layers - layers) <= 1 and layer_size in (None, size):
        return None
    found = f"{num_layers} layers" + ("" if layer_size is None else f" of {layer_size}")
    return (
        f"upstream={upstream['name']} has {layers} layers of {size}, but the weights of upstream.checkpoint="
        f"{upstream['checkpoint']} have {found}: a result would carry the name, corpora and licence of another model. Take "
        "an upstream without a size in its name for them, such as upstream=hf (`mlsuperb upstreams` lists all), or describe "
        "them in a YAML file of your own"
    )


def _benchmark_problems(node: Any) -> Iterator[str]:
    """The node is written by published experiments; a table of runs believes it."""
    if node is None:
        return
    if not isinstance(node, Mapping) or set(node) - {CONVENTIONS} != set(BENCHMARK):
        yield f"benchmark={node!r} must be null or have the keys {', '.join(BENCHMARK)}; leave it to +exp=v1/... and others"
    elif node["track"] not in TRACKS:
        yield f"benchmark.track={node['track']!r} must be one of {', '.join(TRACKS)}"
