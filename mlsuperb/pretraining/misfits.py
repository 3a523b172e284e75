"""Parts of a pre-training job that are sound alone but do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlsuperb.config.check import with_defaults
from mlsuperb.runs.classes import class_named


def layer_misfits(config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """A layer that the upstream will not have, where its settings tell how deep it is."""
    if not {"upstream", "extraction"} <= set(groups):
        return
    upstream, layer = config["upstream"], config["extraction"].get("layer", 0)
    target = class_named(upstream["_target_"])
    num_layers = target.layer_count(with_defaults(target, upstream))
    if num_layers is not None and layer >= num_layers:
        yield f"extraction.layer={layer}, but upstream={upstream['name']} has the layers 0 to {num_layers - 1}"


def upstream_misfits(config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """An upstream that has no masked frames to predict."""
    if "upstream" not in groups:
        return
    from mlsuperb.upstreams.new_hubert import NewHubert
    from mlsuperb.upstreams.selfsupervised import SelfSupervised

    node = config["upstream"]
    upstream, name = class_named(node["_target_"]), node["name"]
    if not issubclass(upstream, SelfSupervised):
        yield (
            f"upstream={name} is no HuBERT, wav2vec 2.0 or WavLM model, so it cannot be pre-trained: choose upstream=hubert_new, "
            "or upstream=hf with upstream.checkpoint"
        )
    elif not issubclass(upstream, NewHubert) and node.get("regularisation", "off") != "mask_embedding":
        yield (
            f"upstream={name} has no embedding of masked frames unless it is asked for: add "
            "+upstream.regularisation=mask_embedding"
        )


def preservation_misfits(config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """Consolidation by speech with transcripts, or of parameters that are not whole on any device."""
    if not {"preservation", "trainer"} <= set(groups) or not config.get("preservation"):
        return
    name = config["preservation"]["name"]
    if "run" not in config["preservation"]:
        yield f"preservation={name} is of another job: choose preservation=ewc with preservation.run"
    if config["trainer"].get("parallel") == "fsdp":
        yield f"preservation={name} needs whole parameters on each device: set trainer.parallel=ddp"


def adaptation_misfits(config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """An adaptation after which there is no model in transformers' layout, or nothing to train."""
    if "adaptation" not in groups or not config.get("adaptation"):
        return
    from mlsuperb.adaptation.frozen import Frozen
    from mlsuperb.adaptation.qlora import QLoRA

    adaptation, name = class_named(config["adaptation"]["_target_"]), config["adaptation"]["name"]
    reasons = {
        Frozen: "trains nothing of the upstream",
        QLoRA: "trains beside weights of 4 bits, which merging would round again",
    }
    found = [reason for kind, reason in reasons.items() if issubclass(adaptation, kind)]
    found += ["adds modules for which transformers' model has no place"] if adaptation.adds_modules else []
    for reason in found:
        yield f"adaptation={name} {reason}, so that no pre-trained model comes out: choose lora, partial or full"
