"""Parts of a translation job that are sound alone but do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlsuperb.adaptation.frozen import Frozen
from mlsuperb.adaptation.full import Everything
from mlsuperb.config.build import instantiate
from mlsuperb.runs.classes import class_named
from mlsuperb.training.settings import select_misfits
from mlsuperb.translation.start import model_misfits, stacks_of

SIDES = ("speech", "text")


def misfits(config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """What to train on that is not there, stacks that the training does not use."""
    wanted = config.get("train_on")
    if not isinstance(wanted, list) or set(wanted) - set(SIDES):
        yield f"train_on={wanted}: give speech, text, or both: train_on=[speech,text]; train_on=[] decodes without training"
        return
    yield from _preservation_misfits(config, wanted)
    yield from _task_misfits(config)
    yield from model_misfits(config)
    if config.get("text") and not config.get("text_loading"):
        yield f"text={config['text']['name']} is read in batches, but text_loading is null: choose text_loading=text"
    frozen = class_named(config["adaptation"]["_target_"]) is Frozen
    if not wanted:
        if not frozen:
            yield "train_on=[] decodes without training: choose adaptation=frozen, or give something to train on"
        return
    if frozen and not config["model"].get("new_languages"):
        yield (
            f"adaptation=frozen trains nothing, and train_on={wanted} asks for a training: choose another adaptation, give the "
            "model a new language (model.new_languages), or decode without training: train_on=[]"
        )
    if "text" in wanted and not config.get("text"):
        yield "train_on has text, but there is no parallel text: choose text=tsv, text=two_files or text=synthetic"
    if set(wanted) == set(SIDES) and config["trainer"]["accumulate"] % 2:
        yield (
            f"train_on has speech and text, which take turns, and trainer.accumulate={config['trainer']['accumulate']} gives an "
            "update one of them alone: set trainer.accumulate=2 (or another even number)"
        )
    yield from select_misfits(config, groups, figures=["valid_loss", *(f"valid_{side}_loss" for side in wanted)])
    yield from _untrained_text(config, wanted)
    unused = [name for name in stacks_of(config["adaptation"]) if name != "decoder"]
    if "speech" not in wanted and not frozen and unused:
        yield (
            f"train_on=[text] reads no speech, so that the stack {' and '.join(unused)} would learn nothing: adapt the decoder "
            "alone, or add speech to train_on"
        )


def _untrained_text(config: Mapping[str, Any], wanted: Sequence[str]) -> Iterator[str]:
    """Batches of text that no trained parameter takes part in."""
    node = config["adaptation"]
    # frozen is refused elsewhere, or trains new rows
    whole = issubclass(class_named(node["_target_"]), (Everything, Frozen)) or config["model"].get("new_languages")
    if set(wanted) == set(SIDES) and not whole and "decoder" not in stacks_of(node):
        yield (
            f"train_on has text, of which adaptation={node['name']} learns nothing, since text goes through the decoder alone: "
            "adapt the decoder, too (adaptation=decoder_adapters, or several), or set train_on=[speech]"
        )


def _task_misfits(config: Mapping[str, Any]) -> Iterator[str]:
    """A task that the decoder does not fulfil."""
    facts, name = instantiate(config["task"]).facts, config["task"]["name"]
    if not facts.has_text or facts.units != "char":
        yield f"task={name} is none of a model that writes text: choose task=asr, or task=asr_lid with search.language=predicted"
    elif facts.has_language and config["search"]["language"] == "given":
        yield (
            f"task={name} names languages, and search.language=given tells them to the model: choose task=asr, or "
            "search.language=predicted"
        )


def _preservation_misfits(config: Mapping[str, Any], wanted: Sequence[str]) -> Iterator[str]:
    """Consolidation by what is not there, or of parameters that are not whole on any device."""
    node = config.get("preservation")
    if not node:
        return
    name = node["name"]
    if "languages" not in node:
        yield f"preservation={name} is of another job: choose preservation=ewc_speech with preservation.languages"
    elif "speech" not in wanted:
        yield f"preservation={name} reads speech of old languages, and train_on={wanted} has none: add speech, or leave it out"
    if config["trainer"].get("parallel") == "fsdp":
        yield f"preservation={name} needs whole parameters on each device: set trainer.parallel=ddp"
