"""A table of label embeddings that begins as the means of the units' frames. Letters: N frames, P projected size, K units."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mlsuperb.pretraining.dataset import MaskedBatch
from mlsuperb.pretraining.model import MaskedPredictionModel
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import autocast

log = logging.getLogger(__name__)

FRAMES_PER_UNIT = 200  # on average


@torch.no_grad()
def imprint(model: MaskedPredictionModel, batches: Iterable[MaskedBatch], *, precision: str) -> None:
    """Set the embedding of each unit to the mean direction of the projected frames that have it, so that a pre-trained model does
    not first have to find out where a new codebook's units lie (weight imprinting for cosine classifiers: Qi et al. 2018, arXiv
    1712.07136, section 3.2). Units without a frame and the classes before the units keep the embeddings that they have.

    Args:
        model: pre-trained, with a new head.
        batches: of the training set, endless; masked and other frames count alike. Each rank gives its own part of each.
        precision: that the model computes in.
    """
    model.eval()
    head = model.head
    sums_KP = torch.zeros_like(head.label_embeddings[head.num_special :])
    counts_K = sums_KP.new_zeros(head.num_units)
    wanted = FRAMES_PER_UNIT * head.num_units
    for batch in batches:
        if batch.share:  # else it is another rank's
            directions_NP, units_N = _labelled(model, batch.to(sums_KP.device), precision=precision)
            sums_KP.index_add_(0, units_N, directions_NP)
            counts_K += torch.bincount(units_N, minlength=head.num_units)
        if ranks.total(counts_K.sum()) >= wanted:  # after the same batch on all ranks, as on one
            break
    sums_KP, counts_K = ranks.total(sums_KP), ranks.total(counts_K)
    seen_K = counts_K > 0
    head.label_embeddings[head.num_special :][seen_K] = normalize(sums_KP[seen_K], dim=-1)
    log.info(
        "label embeddings of %d of %d units imprinted from %s frames",
        seen_K.sum(),
        len(seen_K),
        f"{int(counts_K.sum()):,}",
    )


def _labelled(model: MaskedPredictionModel, batch: MaskedBatch, *, precision: str) -> tuple[Tensor, Tensor]:
    """Directions (N, P) and units (N,) of the frames of a batch that have a label."""
    with autocast(batch.wave_BT.device, precision):
        hidden_ND, _ = model.encode(batch)
    places_N = torch.cat((batch.masked_N, batch.unmasked_N))
    return model.head.directions(hidden_ND[places_N]), batch.units_BF.flatten()[places_N]
