"""Parts of a benchmark run that are sound alone but do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlsuperb.config.build import instantiate
from mlsuperb.config.check import with_defaults
from mlsuperb.decoding.base import Decoder
from mlsuperb.layers.frontends import SHORTENING
from mlsuperb.objectives.base import Objective
from mlsuperb.runs.classes import class_named
from mlsuperb.types import figure_names

BENCHMARK = ("experiment", "track", "size", "run")
CONVENTIONS = "conventions"  # of the upstreams of the published rows; an experiment need not say it
FEW_FRAMES_HZ = 12.5  # OWSM 4, Parakeet: read speech of many languages has 12 to 15 letters a second
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
        yield from _frame_problems(config)
    figures = figure_names(has_language=task.has_language, rates=objective.rates)
    if (chosen := config.get("trainer", {}).get("select_by", figures[0])) not in figures:
        yield f"trainer.select_by={chosen} is no figure of this validation; use one of {', '.join(figures)}"
    if reason := instantiate(config["scoring"]).why_nothing(facts):
        yield (
            f"scoring={config['scoring']['name']} has nothing to say of task={task.name}: {reason}; add v1 to scoring.protocols, "
            "which always has"
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
    """Blocks and layers that the upstream has not, where their number is known without its weights."""
    if "upstream" not in groups:
        return
    chosen = [group for group in ("upstream", "adaptation", "featurizer") if group in groups]
    targets = {group: class_named(config[group]["_target_"]) for group in chosen}
    given = {group: with_defaults(target, config[group]) for group, target in targets.items()}
    if (depth := targets["upstream"].depth(given["upstream"])) is None:
        return
    num_layers = targets["upstream"].layer_count(given["upstream"])
    for group in chosen:
        if hasattr(targets[group], "depth_problems"):
            yield from targets[group].depth_problems(depth, **given[group])
        if hasattr(targets[group], "layer_problems"):
            yield from targets[group].layer_problems(num_layers, **given[group])


def _frame_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """A front end that takes frames away where the upstream (`frame_rate_hz` of its card) leaves none to spare: CTC needs a frame
    for every letter."""
    rate_hz = (config["upstream"].get("card") or {}).get("frame_rate_hz")
    if isinstance(rate_hz, int | float) and (problem := too_few_frames(config, rate_hz)):
        yield problem


def too_few_frames(config: Mapping[str, Any], rate_hz: float) -> str | None:
    """What is to be said where the head takes away frames of an upstream that gives only `rate_hz` frames per second."""
    frontend = config["head"].get("frontend", "linear")
    shortening = SHORTENING.get(frontend, 1)
    if rate_hz > FEW_FRAMES_HZ or shortening == 1:
        return None
    return (
        f"upstream={config['upstream']['name']} gives {rate_hz:g} frames per second, of which head.frontend={frontend} leaves "
        f"{rate_hz / shortening:g}: fewer than speech has letters in many languages (12 to 15 per second), and CTC needs a frame "
        "for each. Set head.frontend=linear"
    )


def _benchmark_problems(node: Any) -> Iterator[str]:
    """The node is written by published experiments; a table of runs believes it."""
    if node is None:
        return
    if not isinstance(node, Mapping) or set(node) - {CONVENTIONS} != set(BENCHMARK):
        yield f"benchmark={node!r} must be null or have the keys {', '.join(BENCHMARK)}; leave it to +exp=v1/... and others"
    elif node["track"] not in TRACKS:
        yield f"benchmark.track={node['track']!r} must be one of {', '.join(TRACKS)}"
