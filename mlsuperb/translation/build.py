"""From a plain configuration to a translator, its training, and what transcribes afterwards."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mlsuperb.config.build import instantiate
from mlsuperb.runs.environment import set_seed
from mlsuperb.runs.run import Run
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import choose_device, describe_device, prepare_process
from mlsuperb.runtime.messages import describe_trained
from mlsuperb.training.checkpoint import load_trained
from mlsuperb.training.loop import MODEL_FILE
from mlsuperb.training.parameters import count_trained, num_parameters
from mlsuperb.training.progress import Progress
from mlsuperb.training.trainer import Trainer
from mlsuperb.translation.data import Data, batches_of
from mlsuperb.translation.model import TranslationModel
from mlsuperb.translation.recogniser import TranslationRecogniser
from mlsuperb.translation.start import TEXT_PART, Start, refuse_other_weights

log = logging.getLogger(__name__)


def build_model(config: Mapping[str, Any], *, parts: Collection[str]) -> TranslationModel:
    """A translator with what an earlier run trained (`start`) and with its own adaptation; new languages are always trained.

    Args:
        parts: `speech`, `text`, or both, of the translator.
    """
    translator = instantiate(config["model"], parts=sorted(parts))
    set_seed(config["seed"])  # what is new does not depend on what was loaded
    start: Start | None = instantiate(config["start"]) if config.get("start") else None
    adaptation = instantiate(config["adaptation"])
    if start is None:
        adaptation.apply(translator)
    else:
        start.apply(translator, adaptation, own=config["adaptation"])
    translator.new_rows.requires_grad_(True)
    model = TranslationModel(translator, loss=instantiate(config["loss"]), num_prefix=translator.num_prefix)
    if "text" not in config["train_on"]:  # a text encoder that is in memory to be scored gets no gradient
        for name, parameter in model.named_parameters():
            if name.startswith(TEXT_PART):
                parameter.requires_grad_(False)
    return model


def needed_parts(config: Mapping[str, Any]) -> list[str]:
    """The parts of the translator that a run needs in memory: those that it trains, and the text encoder where text is chosen,
    on which it is scored."""
    return sorted({*(config["train_on"] or ["speech"]), *(["text"] if config.get("text") else [])})


def build_recogniser(config: Mapping[str, Any], *, parts: Collection[str]) -> TranslationRecogniser:
    """The model with its search, on the device of the configuration."""
    device = prepare_process(choose_device(config["trainer"]["device"]))
    model = build_model(config, parts=parts).to(device).eval()
    trained = count_trained(model)
    record = model.translator.record()
    log.info(
        "model %s from %s", record.get("model_type", "with random weights"), record["checkpoint"] or "its settings"
    )
    log.info("device %s, precision %s", describe_device(device), config["trainer"]["precision"])
    log.info("%s of %s", describe_trained(trained), f"{num_parameters(model.parameters()):,}")
    return TranslationRecogniser(
        model=model, search=instantiate(config["search"]), loading=instantiate(config["loading"]), device=device,
        precision=config["trainer"]["precision"], names_language=instantiate(config["task"]).facts.has_language,
    )  # fmt: skip


def train(config: Mapping[str, Any], recogniser: TranslationRecogniser, data: Data, *, run: Run) -> Progress:
    """Train in the run's folder, and leave the model with the weights of `trainer.keep`."""
    trainer: Trainer = instantiate(config["trainer"])
    if data.old is not None:  # before a checkpoint is loaded, so that a resumed run has the same anchor
        recogniser.model.penalty = instantiate(config["preservation"]).anchor(
            recogniser.model, data.old, loading=recogniser.loading, seed=config["seed"]
        )
    progress = trainer.fit(
        recogniser.model, batches=batches_of(data, seed=config["seed"]), validate=lambda: validate(recogniser, data),
        folder=run.folder, on_progress=run.status, config=config,
    )  # fmt: skip
    if ranks.is_main():
        instantiate(config["adaptation"]).export(recogniser.model.translator, run.folder)
    return progress


def validate(recogniser: TranslationRecogniser, data: Data) -> dict[str, float]:
    """The losses of the validation utterances and pairs; each rank computes its part of the former and all of the latter."""
    recogniser.model.eval()
    return recogniser.validate(side.validation() for side in data.sides.values())


def transcribing(config: Mapping[str, Any], folder: Path, trained: TranslationRecogniser) -> TranslationRecogniser:
    """What transcribes after a training: the trained model itself, or, where only text was in memory, one for speech with
    the same decoder."""
    return trained if trained.model.translator.takes_speech else load_recogniser(folder, config)


def load_recogniser(folder: Path, config: Mapping[str, Any]) -> TranslationRecogniser:
    """The trained model of a run's folder, with the search and loading of a configuration that is else the run's own.

    Raises:
        ValueError: its weights do not fit its settings, or the published ones are not what they were.
    """
    trained_on = config["train_on"]
    # both parts where both were trained: the text encoder may have been, too
    recogniser = build_recogniser(config, parts=trained_on if "speech" in trained_on else ["speech"])
    refuse_other_weights(folder, recogniser.model.translator.record())
    if trained_on:
        load_trained(recogniser.model, folder / MODEL_FILE)
    return recogniser
