"""The model of a benchmark run: upstream, featurizer, SpecAugment, head, objective."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from mlsuperb.heads.base import Head
from mlsuperb.heads.featurizer import Featurizer
from mlsuperb.objectives.base import Objective
from mlsuperb.training.distributed import full
from mlsuperb.training.trainable import Advice, Trainable
from mlsuperb.types import Batch, Encoded, Features, Loss
from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.frozen import frozen_features
from mlsuperb.upstreams.modes import set_train_mode

ADVICE = Advice(
    memory="Lower loading.train.max_batch_s (or loading.train.batch_size), raising trainer.accumulate in turn; or "
    "cache.device_gb, where a GPU keeps the features of a frozen upstream; or set adaptation.gradient_checkpointing=true where "
    "an upstream is trained, or trainer.precision=bf16 on a GPU. `mlsuperb largest_batch` with the same settings measures what "
    "fits",
    gradients="choose other adaptation.layers or another adaptation, or a featurizer that reads all layers "
    "(featurizer=weighted_sum)",
    parameters="Train less (a smaller head, fewer layers, adapters, LoRA), or set trainer.max_trainable_params=null for a "
    "result outside the benchmark's limit",
)


class SpeechModel(Trainable):
    """Upstream -> featurizer -> SpecAugment (training only) -> head -> objective, the order of the ML-SUPERB recipe
    (utterance normalisation is the head's first step).

    Args:
        upstream: after its adaptation was applied.
        trained: names of the upstream's parameters that the adaptation trains. Parts of the upstream without one stay in
            eval mode (see `set_train_mode`), and where there is none at all it builds no graph.
    """

    methods: ClassVar = ("encode",)
    advice: ClassVar = ADVICE

    def __init__(
        self,
        upstream: Upstream,
        *,
        trained: Iterable[str],
        featurizer: Featurizer,
        specaug: nn.Module,
        head: Head,
        objective: Objective,
    ) -> None:
        super().__init__()
        self.upstream = upstream
        self.featurizer = featurizer
        self.specaug = specaug
        self.head = head
        self.objective = objective
        self.adapted = frozenset(trained)
        self.frozen = not self.adapted

    def train(self, mode: bool = True) -> SpeechModel:
        """Frozen means frozen: what of the upstream is not trained has no dropout in training either."""
        super().train(mode)
        if mode:
            set_train_mode(self.upstream, trained=self.adapted)
        return self

    def encode(self, batch: Batch) -> Encoded:
        """The head's output for a batch, from its features where it brings them, else from its waves."""
        features = batch.features
        if features is None:
            features = self._features(batch)
        return self.after_featurizer(self.specaug(self.featurizer(features), features.lengths_B), features.lengths_B)

    def after_featurizer(self, feats_BFD: Tensor, lengths_B: Tensor) -> Encoded:
        """The head's output for the featurizer's stream, with what the objective asks of its blocks."""
        taps = self.objective.taps()
        encoded: Encoded = self.head(feats_BFD, lengths_B) if taps is None else self.head(feats_BFD, lengths_B, taps)
        return encoded

    def _features(self, batch: Batch) -> Features:
        """Features of the upstream. Where it is frozen they equal to the bit what a cache in fp32 gives; a cheap one has none."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if self.frozen and not self.upstream.cheap:
                return frozen_features(self.upstream, batch.wave_BT, batch.lengths_B)
            features: Features = self.upstream(batch.wave_BT, batch.lengths_B)
            return features

    def curves(self) -> Mapping[str, float]:
        """The learned share of each layer, and what the objective adds."""
        weights = full(self.featurizer.weights)
        shares = (
            {} if weights is None else {f"layer_weights/{layer:02}": float(one) for layer, one in enumerate(weights)}
        )
        return {**shares, **self.kept_curves()}

    def kept_curves(self) -> Mapping[str, float]:
        """What the objective adds."""
        return self.objective.curves()

    def blocks(self) -> Iterable[nn.Module]:
        """The Transformer blocks of the upstream."""
        return self.upstream.stacked_blocks()

    def forward(self, batch: Batch, turn: str = "") -> Loss:
        """The loss of a batch."""
        encoded = self.encode(batch)
        loss: Loss = self.objective(encoded, batch.targets_BS, batch.target_lengths_B, batch.languages)
        return loss
