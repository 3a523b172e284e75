"""From a plain configuration to what is trained, and its training."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mlsuperb.adaptation.base import Adaptation
from mlsuperb.config.build import instantiate
from mlsuperb.data.loading import Loading
from mlsuperb.pretraining.dataset import MaskedSpeech
from mlsuperb.pretraining.imprinting import imprint
from mlsuperb.pretraining.model import MaskedPredictionModel
from mlsuperb.pretraining.records import LabelsResult
from mlsuperb.pretraining.targets import Targets
from mlsuperb.pretraining.validation import Counts, by_language
from mlsuperb.runs import store
from mlsuperb.runs.environment import set_seed
from mlsuperb.runs.run import Run
from mlsuperb.runtime.device import choose_device, describe_device, prepare_process
from mlsuperb.runtime.messages import describe_trained
from mlsuperb.training.parameters import count_trained, num_parameters
from mlsuperb.training.progress import Progress
from mlsuperb.training.trainer import Trainer
from mlsuperb.units.labels import Labels
from mlsuperb.upstreams.base import same_record
from mlsuperb.upstreams.checkpoint import local_folder
from mlsuperb.upstreams.selfsupervised import SelfSupervised

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a pre-training works with; `labelled` and `inputs`: the result of the labels, and all runs that it takes something
    from, for the result. `adaptation`: what decides which parameters of the upstream are trained; None: all are."""

    model: MaskedPredictionModel
    adaptation: Adaptation | None
    labels: Labels
    labelled: LabelsResult
    inputs: dict[str, Any]
    train: MaskedSpeech
    dev: MaskedSpeech
    loading: Loading


def build(config: Mapping[str, Any], *, run: Run) -> Parts:
    """Upstream, head, labelled speech; the labels are pinned to the run.

    Raises:
        ValueError: they do not go together, or a run that is used has not finished.
    """
    targets: Targets = instantiate(config["targets"])
    labelled = store.read(Path(targets.run), LabelsResult)
    held = (config.get("preservation") or {}).get("run")
    inputs = store.as_inputs({"targets": targets.run, "upstream": config["upstream"].get("run"), "preservation": held})
    upstream = instantiate(config["upstream"])
    labels = targets.open(upstream)
    run.pin("targets", labels.record())
    run.pin("upstream", upstream.record(), same=same_record)
    loading, masking = (instantiate(config[name]) for name in ("loading", "masking"))
    device = prepare_process(choose_device(config["trainer"]["device"]))
    model, adaptation = _model(config, upstream, labels, device=device)
    train, dev = (
        targets.dataset(labels, split, upstream=upstream, masking=masking, loading=loading)
        for split in ("train", "dev")
    )
    model = model.to(device)
    if model.settings.table == "imprinted":
        speech = targets.dataset(labels, "train", upstream=upstream, masking=masking, loading=loading, fixed=True)
        imprint(model, loading.training(speech, seed=config["seed"])(0), precision=config["trainer"]["precision"])
    log.info("device %s, precision %s", describe_device(device), config["trainer"]["precision"])
    log.info("train: %s utterances, %.2f h", f"{len(train):,}", train.durations_s.sum() / 3600)
    log.info("dev: %s utterances, %.2f h", f"{len(dev):,}", dev.durations_s.sum() / 3600)
    return Parts(
        model=model, adaptation=adaptation, labels=labels, labelled=labelled, inputs=inputs,
        train=train, dev=dev, loading=loading,
    )  # fmt: skip


def _model(
    config: Mapping[str, Any], upstream: SelfSupervised, labels: Labels, *, device: torch.device
) -> tuple[MaskedPredictionModel, Adaptation | None]:
    """What is trained, and what decides which of the upstream's parameters are; None: all are."""
    settings, adaptation = instantiate(config["prediction"]), None
    set_seed(config["seed"])  # the head's weights do not depend on what was built before
    base = local_folder(str(upstream.record().get("checkpoint", "")))
    head = settings.head_for(labels.about, size=upstream.layer_size, base=base)
    if config.get("adaptation"):  # before the model, whose layer drop has to see the blocks as they will be
        adaptation = instantiate(config["adaptation"])
        adaptation.apply(upstream)
    anchor = None
    if config.get("preservation"):
        if base is None:
            raise ValueError(
                f"preservation.run={config['preservation']['run']} needs a base on disk with the head that predicts its units: "
                "give upstream=pretrained upstream.run=FOLDER, or set preservation=null"
            )
        of_data = {name: instantiate(config[name]) for name in ("masking", "loading")}
        anchor = instantiate(config["preservation"]).anchor(
            upstream.to(device), base=base, settings=settings, seed=config["seed"], **of_data
        )
    model = MaskedPredictionModel(upstream, head=head, settings=settings, penalty=anchor)
    trained, total = count_trained(model), num_parameters(model.parameters())
    log.info("%s of %s: %.3f %%", describe_trained(trained), f"{total:,}", 100 * sum(trained.values()) / total)
    return model, adaptation


def train(config: Mapping[str, Any], parts: Parts, *, run: Run) -> Progress:
    """Train in the run's folder, and leave the model with the weights of `trainer.keep`."""
    trainer: Trainer = instantiate(config["trainer"])
    return trainer.fit(
        parts.model,
        batches=parts.loading.training(parts.train, seed=config["seed"]),
        validate=lambda: {
            f"valid_{name}": value for name, value in sum(validate(config, parts).values(), Counts()).figures().items()
        },
        folder=run.folder,
        on_progress=run.status,
        config=config,
    )


def validate(config: Mapping[str, Any], parts: Parts) -> dict[str, Counts]:
    """How well the model predicts the validation utterances, by language."""
    parts.model.eval()
    return by_language(parts.model, parts.dev, parts.loading, precision=config["trainer"]["precision"])
