"""Reconstruction error on dev utterances when they are copied from their own units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mlsuperb.data.loading import Loading
from mlsuperb.runs.decoding import batches_of_rank
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import autocast
from mlsuperb.training.losses import refuse_not_finite
from mlsuperb.vocoder.dataset import UnitSpeech
from mlsuperb.vocoder.model import VocoderModel


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Sums over utterances; those of several sets add up."""

    mel: float = 0.0
    num_mel: int = 0
    duration: float = 0.0
    num_durations: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def figures(self) -> dict[str, float]:
        """Mean distance of log-mels, mean squared error of log(1 + frames)."""
        return {
            "mel_l1": self.mel / max(1, self.num_mel),
            "duration_error": self.duration / max(1, self.num_durations),
        }


@torch.inference_mode()
def by_language(model: VocoderModel, dataset: UnitSpeech, loading: Loading, *, precision: str) -> dict[str, Errors]:
    """Errors of each language of a dataset; every rank computes its part and gets them all.

    Raises:
        ValueError: the errors of some utterances are not finite; names them.
    """
    device = next(model.parameters()).device
    found: dict[str, Errors] = {}
    not_finite: list[str] = []
    for batch in batches_of_rank(dataset, loading).loader:
        batch = batch.to(device)
        with autocast(device, precision):
            made_BT = model.generator(
                batch.targets_BS,
                speaker_B=batch.speaker_B,
                language_B=batch.language_B,
                lengths_B=batch.target_lengths_B,
            )
            predicted_BS = model.generator.log_durations(batch.runs_BS, batch.run_lengths_B)
        for row, language in enumerate(batch.languages):
            length = int(batch.lengths_B[row])
            real_JM, made_JM = (model.log_mel(one[row : row + 1, :length])[0] for one in (batch.wave_BT, made_BT))
            frames_S = batch.run_frames_BS[row]
            whole_S = frames_S > 0
            off_N = predicted_BS[row][whole_S].float() - frames_S[whole_S].float().log1p()
            errors = Errors(
                mel=float((real_JM - made_JM).abs().sum(dtype=torch.double)), num_mel=real_JM.numel(),
                duration=float(off_N.square().sum(dtype=torch.double)), num_durations=len(off_N),
            )  # fmt: skip
            not_finite += () if math.isfinite(errors.mel + errors.duration) else (batch.ids[row],)
            found[language] = found.get(language, Errors()) + errors
    refuse_not_finite(not_finite)
    return ranks.sums(found)
