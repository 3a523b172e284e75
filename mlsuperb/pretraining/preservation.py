"""Elastic weight consolidation in pre-training: what mattered for the units of old languages is held near its old values."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from mlsuperb.data.batching import BucketedBatches
from mlsuperb.data.loading import Loading
from mlsuperb.pretraining.dataset import MaskedBatch
from mlsuperb.pretraining.labelling import labels_problem
from mlsuperb.pretraining.masking import SpanMasking
from mlsuperb.pretraining.model import MaskedPrediction, MaskedPredictionModel
from mlsuperb.pretraining.targets import Targets
from mlsuperb.training.consolidation import WeightAnchor, fisher_information
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

        Raises:
            ValueError: the base has no head for these units.
        """
        targets = Targets(run=self.run)
        labels = targets.open(upstream)
        own = replace(settings, start=str(base), projection="new", layer_drop=0.0)
        head = own.head_for(labels.about, size=upstream.layer_size)
        dataset = targets.dataset(labels, "train", upstream=upstream, masking=masking, loading=loading, fixed=True)
        one_by_one = BucketedBatches(max_batch_s=loading.eval_batch_s, max_batch_size=1)
        single = replace(loading, train=one_by_one, crops=None, sampling=None)
        device = next(upstream.parameters()).device
        model = MaskedPredictionModel(upstream, head=head.to(device), settings=own)
        fisher = of_upstream(model, single.training(dataset, seed=seed)(0), num=self.num_utterances)
        parameters = {name: one for name, one in upstream.named_parameters() if name in fisher}
        num = sum(one.numel() for one in fisher.values())
        log.info("elastic weight consolidation: Fisher information of %s parameters", f"{num:,}")
        return WeightAnchor(parameters, fisher, weight=self.weight)


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
