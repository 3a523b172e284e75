"""From a plain configuration to the vocoder that is trained, and its training."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsuperb.config.build import instantiate
from mlsuperb.data.loading import Loading
from mlsuperb.runs import store
from mlsuperb.runs.environment import set_seed
from mlsuperb.runs.result import Result
from mlsuperb.runs.run import Run
from mlsuperb.runtime.device import choose_device, describe_device, prepare_process
from mlsuperb.training.progress import Progress
from mlsuperb.training.trainer import Trainer
from mlsuperb.vocoder.dataset import Segments, UnitSpeech
from mlsuperb.vocoder.folder import Voice
from mlsuperb.vocoder.generator import UnitVocoder
from mlsuperb.vocoder.model import VocoderModel
from mlsuperb.vocoder.settings import VocoderSettings
from mlsuperb.vocoder.start import start_from
from mlsuperb.vocoder.targets import SpeechUnits, known, names
from mlsuperb.vocoder.validation import Errors, by_language

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the training of a vocoder works with; `labelled`: the result of the labels; `started`: what was taken from another
    vocoder, if anything was."""

    model: VocoderModel
    voice: Voice
    labelled: Result
    started: dict[str, Any] | None
    train: UnitSpeech
    dev: UnitSpeech
    loading: Loading


def build(config: Mapping[str, Any], *, run: Run) -> Parts:
    """Labelled speech, vocoder, discriminators; the labels are pinned to the run.

    Raises:
        ValueError: they do not go together, or the run of the labels has not finished.
    """
    targets, settings, loading = (instantiate(config[name]) for name in ("targets", "vocoder", "loading"))
    labelled = store.read(Path(targets.run), Result)
    voice, train, dev = open_speech(targets, settings, loading)
    run.pin("targets", targets.open().record())
    shape = settings.shape(
        num_units=voice.num_units,
        rate_hz=voice.rate_hz,
        num_speakers=len(voice.speakers),
        num_languages=len(voice.languages),
    )
    set_seed(config["seed"])  # the weights do not depend on what was built before
    vocoder = UnitVocoder(shape)
    started = start_from(vocoder, settings.start, voice=voice) if settings.start else None
    device = prepare_process(choose_device(config["trainer"]["device"]))
    log.info("device %s, precision %s", describe_device(device), config["trainer"]["precision"])
    for split, dataset in (("train", train), ("dev", dev)):
        log.info("%s: %s utterances, %.2f h", split, f"{len(dataset):,}", dataset.durations_s.sum() / 3600)
    model = VocoderModel(vocoder, settings=settings).to(device)
    return Parts(model=model, voice=voice, labelled=labelled, started=started, train=train, dev=dev, loading=loading)


def open_speech(
    targets: SpeechUnits, settings: VocoderSettings, loading: Loading
) -> tuple[Voice, UnitSpeech, UnitSpeech]:
    """What is to be spoken; training and dev speech with its units.

    Raises:
        ValueError: a split is empty, a name is missing, or nothing cuts segments.
    """
    if not isinstance(loading.crops, Segments):
        raise ValueError(
            "a vocoder is trained on segments of one length that begin with a unit: choose loading=segments"
        )
    labels, num_units = targets.open(), loading.crops.num_units
    if abs(loading.crops.unit_s * labels.about.rate_hz - 1) > 1e-9:
        raise ValueError(
            f"loading.crops.unit_s={loading.crops.unit_s:g}, but {targets.run} has {labels.about.rate_hz:g} units per second: "
            f"set loading.crops.unit_s={1 / labels.about.rate_hz:g}, so that segments begin with a unit"
        )
    rows, dev_rows = (targets.rows(labels, split, num_units=num_units) for split in ("train", "dev"))
    speakers = names(rows, "speaker") if settings.speaker else ()
    languages = names(rows, "language") if settings.language else ()
    dev_rows = known(dev_rows, speakers=speakers, languages=languages)
    train, dev = (
        UnitSpeech(labels, one, speakers=speakers, languages=languages, keep_gb=loading.kept_gb)
        for one in (rows, dev_rows)
    )
    about = labels.about
    voice = Voice(
        codebook=about.codebook,
        rate_hz=about.rate_hz,
        num_units=about.num_units,
        speakers=speakers,
        languages=languages,
    )
    return voice, train, dev


def train(config: Mapping[str, Any], parts: Parts, *, run: Run) -> Progress:
    """Train in the run's folder, and leave the model with the weights of `trainer.keep`."""
    trainer: Trainer = instantiate(config["trainer"])
    return trainer.fit(
        parts.model,
        batches=parts.loading.training(parts.train, seed=config["seed"]),
        validate=lambda: {
            f"valid_{name}": value for name, value in sum(validate(config, parts).values(), Errors()).figures().items()
        },
        folder=run.folder,
        on_progress=run.status,
        config=config,
    )


def validate(config: Mapping[str, Any], parts: Parts) -> dict[str, Errors]:
    """How near dev utterances come to themselves, by language."""
    parts.model.eval()
    return by_language(parts.model, parts.dev, parts.loading, precision=config["trainer"]["precision"])
