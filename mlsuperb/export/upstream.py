"""The upstream of a trained run, with what its adaptation trained, as a checkpoint that transformers and `upstream=hf` read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsuperb.adaptation.frozen import Frozen
from mlsuperb.adaptation.qlora import QLoRA
from mlsuperb.benchmark import build
from mlsuperb.config.build import job_of
from mlsuperb.export.folder import new_folder, origin
from mlsuperb.runs.classes import class_named
from mlsuperb.upstreams.adapter import merge_lora
from mlsuperb.upstreams.folder import save_folder
from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.probe import largest_difference, layers_of_noise
from mlsuperb.upstreams.s3prl import S3prl
from mlsuperb.upstreams.selfsupervised import SelfSupervised
from mlsuperb.upstreams.sources import hash_files

TOLERANCE = 1e-4  # of the largest value of a layer: the contract of all upstreams (padding, batches), so of this, too


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The folder, what to give to `mlsuperb.run` for it, and how far its layers are from the run's (largest difference
    relative to the layer's largest value)."""

    folder: Path
    overrides: str
    difference: float


def export_upstream(run: Path, folder: Path) -> Exported:
    """Write the trained upstream of `run` to `folder` (config.json, model.safetensors, preprocessor_config.json, and
    mlsuperb_export.json, which says where it is from), load it again and compare all layers.

    Layer drop and the model's own SpecAugment are off in its config.json, as they were in the run.

    Raises:
        ValueError: nothing in it was trained, it is no longer a model that transformers can load, or `folder` is somebody else's.
    """
    config = build.load_config(run)
    refuse(config)
    recogniser: Any = job_of(config).load(run, device="cpu")
    upstream = recogniser.model.upstream
    assert isinstance(upstream, SelfSupervised)
    before = layers_of_noise(upstream)
    merge_lora(upstream.model)
    about = origin(run, config, what="upstream")
    with new_folder(folder, about) as unfinished:
        save_folder(upstream, unfinished)
        about["sha256"] = hash_files(unfinished, "model*.safetensors")
        reloaded: Any = S3prl if isinstance(upstream, S3prl) else HuggingFace
        settings = {key: config["upstream"][key] for key in ("kind", "conventions") if key in config["upstream"]}
        after = layers_of_noise(reloaded(checkpoint=str(unfinished.resolve()), **settings))
        difference = largest_difference(before, after)
        if not difference < TOLERANCE:
            raise ValueError(
                f"the exported upstream of {run} gives other layers (relative difference {difference:.1e}), so it was not "
                f"kept. This is a fault of mlsuperb or of its versions: please report it with {run / 'environment.json'}"
            )
    settings |= {"checkpoint": folder.resolve()}
    option = "s3prl" if reloaded is S3prl else "hf"
    overrides = " ".join([f"upstream={option}", *(f"upstream.{key}={value}" for key, value in settings.items())])
    return Exported(folder=folder, overrides=overrides, difference=difference)


def refuse(config: dict[str, Any]) -> None:
    """Check that the configuration's upstream can be exported.

    Raises:
        ValueError: it cannot; the message says why, and what to do.
    """
    chosen = config["adaptation"]
    parts = (config["upstream"], chosen.get("stacks", {}).get("encoder", chosen))  # `several`: these have one stack
    upstream, adaptation = (class_named(part["_target_"]) for part in parts)
    shown = f"upstream={config['upstream']['name']} with adaptation={config['adaptation']['name']} cannot be exported: "
    if not issubclass(upstream, SelfSupervised):
        raise ValueError(
            f"{shown}{upstream.__name__} is no HuBERT, wav2vec 2.0, WavLM or w2v-BERT 2.0 model, and upstream=hf reads "
            "nothing else. Choose a run on one of these."
        )
    if issubclass(adaptation, Frozen):
        raise ValueError(
            f"{shown}nothing in it was trained, so it is still {config['upstream'].get('checkpoint', 'what it was')}. "
            "Give that as upstream.checkpoint, or choose a run with adaptation=full, partial or lora."
        )
    if issubclass(adaptation, QLoRA):
        raise ValueError(
            f"{shown}its updates were trained beside weights of 4 bits, and merging rounds their sum to 4 bits again or "
            "puts them beside weights that they never saw; either way the layers would be others. Train with "
            "adaptation=lora (same rank and alpha), or use peft_adapter/ in the run's folder with a 4-bit base."
        )
    if adaptation.adds_modules:
        raise ValueError(
            f"{shown}it has added modules, for which transformers' model has no place. Use the run "
            "itself (mlsuperb transcribe, mlsuperb evaluate), or train with adaptation=lora, partial or full."
        )
