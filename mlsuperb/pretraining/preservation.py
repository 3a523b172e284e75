"""Elastic weight consolidation in pre-training: what mattered for the units of old languages is held near its old values."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from mlsuperb.data.loading import Loading
from mlsuperb.pretraining.dataset import MaskedBatch
from mlsuperb.pretraining.head import HEAD_FILE, PredictionHead, StoredHead
from mlsuperb.pretraining.labelling import labels_problem
from mlsuperb.pretraining.masking import SpanMasking
from mlsuperb.pretraining.model import MaskedPrediction, MaskedPredictionModel
from mlsuperb.pretraining.targets import Targets
from mlsuperb.training.consolidation import WeightAnchor, fisher_information
from mlsuperb.units.labels import About
from mlsuperb.upstreams.selfsupervised import SelfSupervised

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class ElasticWeights:
    """Settings of elastic weight consolidation.

    Args:
        run: labels of old languages, made with the codebook whose units the base's head predicts.
        weight: of the penalty, lambda.
        num_utterances: that the Fisher information is estimated on.
    """

    run: str
    weight: PositiveFloat = 1000.0
    num_utterances: PositiveInt = 200

    @classmethod
    def problems(cls, *, run: str, **_: object) -> list[str]:
        """Whether there are such labels."""
        return [problem] if (problem := labels_problem("preservation.run", run)) else []

    def anchor(
        self, upstream: SelfSupervised, *, base: Path, settings: MaskedPrediction, masking: SpanMasking, loading: Loading,
        seed: int,
    ) -> WeightAnchor:  # fmt: skip
        """Estimate what mattered for the old languages, on the device of the upstream; draws no global random numbers.

        Args:
            base: folder with the upstream's weights and the head that predicts the units of the old labels.
            settings: of the loss of the training.

        Raises:
            ValueError: the base has no head, or one for other units.
        """
        targets = Targets(run=self.run)
        labels = targets.open(upstream)
        dataset = targets.dataset(labels, "train", upstream=upstream, masking=masking, loading=loading, fixed=True)
        device = next(upstream.parameters()).device
        head = self._head(base, labels.about, size=upstream.layer_size).to(device)
        whole = replace(settings, layer_drop=0.0, feature_grad_mult=1.0)  # of the loss itself, not of how it is trained
        model = MaskedPredictionModel(upstream, head=head, settings=whole)
        batches = loading.one_by_one().training(dataset, seed=seed)(0)
        fisher = of_upstream(model, batches, num=self.num_utterances)
        parameters = {name: one for name, one in upstream.named_parameters() if name in fisher}
        num = sum(one.numel() for one in fisher.values())
        log.info("elastic weight consolidation: Fisher information of %s parameters", f"{num:,}")
        return WeightAnchor(parameters, fisher, weight=self.weight)

    def _head(self, base: Path, labels: About, *, size: int) -> PredictionHead:
        if not (base / HEAD_FILE).is_file():
            raise ValueError(
                f"preservation.run={self.run}: {base} has no prediction head ({HEAD_FILE}) for the units of these labels, as "
                "published checkpoints rarely do. Give a base that was pre-trained here, or set preservation=null"
            )
        stored = StoredHead.read(base)
        if other := stored.differences(base, labels, size=size):
            raise ValueError(
                f"preservation.run={self.run} has other labels than those that the head in {base} predicts "
                f"({'; '.join(other)}). Give the run of job=labels that the base was trained on, or another one with its "
                "codebook (labelling.run)"
            )
        with torch.random.fork_rng(devices=[]):  # a head begins at random, before it gets its weights
            return stored.head()


def of_upstream(model: MaskedPredictionModel, batches: Iterable[MaskedBatch], *, num: int) -> dict[str, Tensor]:
    """The Fisher information of the prediction loss alone, by the names of the upstream's parameters that require a gradient; a
    batch is one utterance."""
    model.eval()
    device = next(model.parameters()).device

    def loss(batch: MaskedBatch) -> Tensor:
        hidden_ND, _ = model.encode(batch)
        losses_N, _ = model.head.losses(hidden_ND[batch.masked_N], batch.units_BF.flatten()[batch.masked_N])
        return losses_N.mean()

    parameters = {name: one for name, one in model.upstream.named_parameters() if one.requires_grad}
    return fisher_information(parameters, (batch.to(device) for batch in batches), loss=loss, num=num)
