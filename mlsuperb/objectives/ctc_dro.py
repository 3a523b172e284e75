"""CTC whose languages are weighted by their losses, for the worst of them.

Letters: B batch, F frames, H encoded size, S target length, V vocabulary, G languages (with room for any number).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from mlsuperb.layers import over_ranks
from mlsuperb.objectives.base import Rate
from mlsuperb.objectives.ctc import CTC, min_frames
from mlsuperb.types import Encoded, Loss

log = logging.getLogger(__name__)

MAX_LANGUAGES = 8192  # G
FLOOR = 1e-10  # `dro_q_epsilon`


class CTCDRO(CTC):
    """CTC-DRO (Bartelds et al. 2025, arXiv 2502.01777): each language g has a weight q_g, of which all add up to 1. The loss of a
    batch is that of `CTC` with each utterance's times q_g and the number of languages. Once every language was seen since
    the last time, the weights move: q_g is multiplied by exp(`step_size` * L_g / (q_g + `smoothing`)) and all are normalised.
    `smoothing` keeps them from all going to a language whose loss is always high. At 0 this is group DRO (Sagawa et al. 2020),
    exp(`step_size` * L_g).

    L_g is length-matched: the sum of a language's losses over as much audio for each. The authors make batches of one language
    and of one duration; here batches are mixed, and L_g is the loss per encoded frame since the last time, times
    `matched_frames`; an utterance too short for its text has no part in it. In validation there is no weight, and validation
    moves none (the authors' code lets it move them).

    Args:
        input_size: H, given by the head.
        vocab_size: V, given by the data.
        dropout: in front of the output layer.
        step_size: eta_q; the authors chose 1e-4 or 1e-3 on dev sets.
        smoothing: alpha; the authors chose 0.1, 0.5 or 1.
        matched_frames: encoded frames that L_g is taken over.
    """

    weights_G: Tensor
    sums_G: Tensor
    frames_G: Tensor

    def __init__(
        self,
        *,
        input_size: int,
        vocab_size: int,
        dropout: Rate = 0.0,
        step_size: PositiveFloat = 1e-4,
        smoothing: Annotated[float, Field(ge=0)] = 0.1,
        matched_frames: PositiveInt = 1000,
    ) -> None:
        super().__init__(input_size=input_size, vocab_size=vocab_size, dropout=dropout)
        self.step_size, self.smoothing, self.matched_frames = step_size, smoothing, matched_frames
        self.group_of: dict[str, int] = {}
        for name in ("weights_G", "sums_G", "frames_G"):  # a checkpoint has them, so that a training resumes
            self.register_buffer(name, torch.zeros(MAX_LANGUAGES))

    def begin(self, languages: Collection[str]) -> None:
        """Give every language the same weight; one alone is warned of, since it keeps all of it.

        Raises:
            ValueError: there is no room for so many.
        """
        if len(languages) > MAX_LANGUAGES:
            raise ValueError(
                f"objective=ctc_dro weights up to {MAX_LANGUAGES:,} languages, the data have {len(languages):,}"
            )
        if len(languages) == 1:
            log.warning(
                "objective=ctc_dro weights the languages of the training data, and there is one (%s): its weight stays 1, so "
                "this is objective=ctc", *languages
            )  # fmt: skip
        self.group_of = {language: group for group, language in enumerate(sorted(languages))}
        self.weights_G[: len(languages)] = 1 / len(languages)

    def forward(
        self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor, languages: Sequence[str] = ()
    ) -> Loss:
        """The weighted loss in training, that of `CTC` else."""
        if not self.training:
            return super().forward(encoded, targets_BS, target_lengths_B, languages)
        assert self.group_of, "`begin` comes before a training"
        loss_B = self.losses(encoded, targets_BS, target_lengths_B)
        groups_B = torch.tensor([self.group_of[one] for one in languages]).to(loss_B.device, non_blocking=True)
        unaligned_B = encoded.lengths_B < min_frames(targets_BS, target_lengths_B)
        self._observe(loss_B.detach(), encoded.lengths_B * ~unaligned_B, groups_B)
        weighted_B = loss_B * self.weights_G[groups_B] * len(self.group_of)
        return Loss(weighted_B.sum() / len(loss_B), {"num_unaligned": unaligned_B.sum()})

    def curves(self) -> Mapping[str, float]:
        """The weight of each language."""
        weights = self.weights_G.tolist()
        return {f"dro_weights/{language}": weights[group] for language, group in self.group_of.items()}

    @torch.no_grad()
    def _observe(self, loss_B: Tensor, frames_B: Tensor, groups_B: Tensor) -> None:
        """Add a batch to what was seen, and move the weights if every language was. A batch with a loss that is not finite, whose
        update fails or is skipped, is left out. Waits for no device."""
        seen_3G = loss_B.new_zeros(3, MAX_LANGUAGES)
        wrong_B = ~loss_B.isfinite()
        seen_3G.index_add_(1, groups_B, torch.stack((loss_B.nan_to_num(0, 0, 0), frames_B.float(), wrong_B.float())))
        new_sums_G, new_frames_G, wrong_G = over_ranks.total(seen_3G)
        counts = wrong_G.sum() == 0
        sums_G, frames_G = self.sums_G + new_sums_G * counts, self.frames_G + new_frames_G * counts
        used = slice(len(self.group_of))
        moved_G = self._moved(self.weights_G[used], sums_G[used] / frames_G[used].clamp(min=1))
        ready = (frames_G[used] > 0).all()
        self.weights_G[used] = torch.where(ready, moved_G, self.weights_G[used])
        self.sums_G.copy_(torch.where(ready, 0, sums_G))
        self.frames_G.copy_(torch.where(ready, 0, frames_G))

    def _moved(self, weights_G: Tensor, per_frame_G: Tensor) -> Tensor:
        """The weights after a step; in logarithms, since the exponentials of a steep one have no number."""
        damping_G = weights_G + self.smoothing if self.smoothing else 1.0
        steps_G = self.step_size * self.matched_frames * per_frame_G / damping_G
        moved_G = (weights_G.log() + steps_G).softmax(0) + FLOOR
        return moved_G / moved_G.sum()
