"""Elastic weight consolidation: weights that mattered for the old languages are held near their old values."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from mlsuperb.data.batching import BucketedBatches
from mlsuperb.data.loading import Loading
from mlsuperb.pretraining.dataset import MaskedBatch
from mlsuperb.pretraining.labelling import labels_problem
from mlsuperb.pretraining.masking import SpanMasking
from mlsuperb.pretraining.model import MaskedPrediction, MaskedPredictionModel
from mlsuperb.pretraining.targets import Targets
from mlsuperb.upstreams.selfsupervised import SelfSupervised

log = logging.getLogger(__name__)


class WeightAnchor:
    """weight / 2 * sum F (theta - theta_0)^2 over the trained parameters (Kirkpatrick et al. 2017, arXiv 1612.00796, equation 3).

    Args:
        parameters: as they are now, theta_0.
        fisher: F, the diagonal of the Fisher information, by the same names.
        weight: lambda.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], fisher: Mapping[str, Tensor], *, weight: float) -> None:
        self._held = [(parameters[name], parameters[name].detach().clone(), of) for name, of in fisher.items()]
        self.weight = weight

    def __call__(self) -> Tensor:
        """The penalty, in fp32."""
        terms = [(of * (now.float() - before).square()).sum() for now, before, of in self._held]
        return 0.5 * self.weight * torch.stack(terms).sum()


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
        fisher = fisher_information(model, single.training(dataset, seed=seed)(0), num=self.num_utterances)
        parameters = {name: one for name, one in upstream.named_parameters() if name in fisher}
        num = sum(one.numel() for one in fisher.values())
        log.info("elastic weight consolidation: Fisher information of %s parameters", f"{num:,}")
        return WeightAnchor(parameters, fisher, weight=self.weight)


def fisher_information(model: MaskedPredictionModel, batches: Iterable[MaskedBatch], *, num: int) -> dict[str, Tensor]:
    """The mean over utterances of the squared gradient of the prediction loss (the empirical Fisher information), by the names of
    the upstream's parameters that require a gradient; each batch is one utterance."""
    model.eval()
    parameters = {name: one for name, one in model.upstream.named_parameters() if one.requires_grad}
    sums = {name: torch.zeros_like(one, dtype=torch.float32) for name, one in parameters.items()}
    device = next(model.parameters()).device
    for _, given in zip(range(num), batches, strict=False):
        batch = given.to(device)
        hidden_ND, _ = model.encode(batch)
        losses_N, _ = model.head.losses(hidden_ND[batch.masked_N], batch.units_BF.flatten()[batch.masked_N])
        gradients = torch.autograd.grad(losses_N.mean(), list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                sums[name] += gradient.detach().float().square() / num
    return sums
