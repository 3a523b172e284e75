"""How well units are predicted, in all and by language. Letters: K units."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from mlsuperb.data.loading import Loading
from mlsuperb.pretraining.dataset import MaskedBatch, MaskedSpeech
from mlsuperb.pretraining.model import MaskedPredictionModel
from mlsuperb.runs.decoding import batches_of_rank
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import autocast
from mlsuperb.training.losses import refuse_not_finite
from mlsuperb.units.usage import perplexity


@dataclass
class Counts:
    """What predictions came to; counts of several sets of utterances add up."""

    loss: float = 0.0
    masked: int = 0
    masked_right: int = 0
    unmasked: int = 0
    unmasked_right: int = 0
    predicted_K: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    true_K: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.loss + other.loss,
            self.masked + other.masked,
            self.masked_right + other.masked_right,
            self.unmasked + other.unmasked,
            self.unmasked_right + other.unmasked_right,
            _added(self.predicted_K, other.predicted_K),
            _added(self.true_K, other.true_K),
        )

    def figures(self) -> dict[str, float]:
        """Loss per masked frame (nats), accuracies, perplexities of the predicted and of the true units."""
        return {
            "loss": self.loss / max(1, self.masked),
            "masked_accuracy": self.masked_right / max(1, self.masked),
            "unmasked_accuracy": self.unmasked_right / max(1, self.unmasked),
            "code_perplexity": perplexity(self.predicted_K),
            "label_perplexity": perplexity(self.true_K),
        }


def _added(one_K: np.ndarray, other_K: np.ndarray) -> np.ndarray:
    """Of counts of nothing, which have no units, and of others."""
    return one_K + other_K if len(one_K) == len(other_K) else max(one_K, other_K, key=len)


@torch.inference_mode()
def by_language(
    model: MaskedPredictionModel, dataset: MaskedSpeech, loading: Loading, *, precision: str
) -> dict[str, Counts]:
    """Counts of each language of a dataset; every rank computes its part and gets them all.

    Raises:
        ValueError: the loss of some utterances is not finite; names them.
    """
    device = next(model.parameters()).device
    found: dict[str, Counts] = {}
    not_finite: list[str] = []
    for batch in batches_of_rank(dataset, loading).loader:
        with autocast(device, precision):
            parts = list(_of_batch(model, batch.to(device)))  # inside: a generator computes when it is read
        for name, (language, counts) in zip(batch.ids, parts, strict=True):
            not_finite += () if math.isfinite(counts.loss) else (name,)
            found[language] = found.get(language, Counts()) + counts
    refuse_not_finite(not_finite)
    return ranks.sums(found)


def _of_batch(model: MaskedPredictionModel, batch: MaskedBatch) -> Iterable[tuple[str, Counts]]:
    hidden_ND, _ = model.encode(batch)
    units_N, num_frames = batch.units_BF.flatten(), batch.mask_BF.shape[1]
    losses_N, masked_N = model.head.losses(hidden_ND[batch.masked_N], units_N[batch.masked_N])
    unmasked_N = model.head.predicted(hidden_ND[batch.unmasked_N])
    rows = (batch.masked_N // num_frames).cpu().numpy(), (batch.unmasked_N // num_frames).cpu().numpy()
    losses, masked, unmasked = (one.cpu().numpy() for one in (losses_N, masked_N, unmasked_N))
    true_masked, true_unmasked = (units_N[at].cpu().numpy() for at in (batch.masked_N, batch.unmasked_N))
    num_units = model.head.num_units
    for row, language in enumerate(batch.languages):
        seen, hidden = rows[1] == row, rows[0] == row
        yield (
            language,
            Counts(
                loss=float(losses[hidden].sum(dtype=np.float64)),
                masked=int(hidden.sum()),
                masked_right=int((masked[hidden] == true_masked[hidden]).sum()),
                unmasked=int(seen.sum()),
                unmasked_right=int((unmasked[seen] == true_unmasked[seen]).sum()),
                predicted_K=np.bincount(
                    masked[hidden & (masked >= 0)], minlength=num_units
                ),  # those below 0 are no units
                true_K=np.bincount(true_masked[hidden], minlength=num_units),
            ),
        )
