"""Speech with a unit for each frame, of which some are masked.

Letters: B batch, T samples, F frames, S labels, N frames of all utterances of a batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.pretraining.masking import SpanMasking
from mlsuperb.types import Batch, Utterance
from mlsuperb.units.labels import Labels


@dataclass(frozen=True, kw_only=True)
class MaskedBatch(Batch):
    """A batch with its masks. `targets_BS` are labels at their own rate, `units_BF` the labels at the model's frames;
    `mask_BF` says which frames are masked. `masked_N` and `unmasked_N` are the places of masked and unmasked frames that have a
    label, counted through the batch row by row."""

    units_BF: Tensor
    mask_BF: Tensor
    masked_N: Tensor
    unmasked_N: Tensor


class MaskedSpeech(SpeechDataset):
    """The rows of labelled speech, or some of them.

    Args:
        labels: their units.
        rows: of the manifest of `labels`, with their numbers as the index; their `audio` may lie elsewhere by now.
        masking: which frames are masked.
        num_frames: frames of the model for so many samples.
        frame_rate_hz: frames of the model per second.
        fixed: draw the same masks for the same utterances every time (validation), not from torch's global random numbers.
        keep_gb: see `SpeechDataset`.
    """

    def __init__(
        self,
        labels: Labels,
        rows: pd.DataFrame,
        *,
        masking: SpanMasking,
        num_frames: Callable[[Tensor], Tensor],
        frame_rate_hz: float,
        fixed: bool = False,
        keep_gb: float = 0.0,
    ) -> None:
        super().__init__(rows, target_rate_hz=labels.rate_hz, keep_gb=keep_gb)
        self._labels, self._label_rows = labels, rows.index.to_numpy()
        self._masking, self._num_frames, self._fixed = masking, num_frames, fixed
        self._labels_per_frame = labels.rate_hz / frame_rate_hz

    def _target(self, index: int, utterance: Utterance) -> np.ndarray:
        return self._labels[self._label_rows[index]].astype(np.int64)

    def finish(self, batch: Batch) -> MaskedBatch:
        """The batch with masks. Frame t has the label int(t * labels per frame), as in fairseq's `forward_targets`; frames behind
        the last label are seen by the model, but neither predicted nor counted."""
        frames_B = self._num_frames(batch.lengths_B)
        labelled_B = torch.ceil(batch.target_lengths_B / self._labels_per_frame).long()
        mask_BF = torch.from_numpy(self._masking.draw(frames_B.tolist(), rng=self._rng(batch)))
        places_F = torch.arange(mask_BF.shape[1])
        at_F = (places_F * self._labels_per_frame).long().clamp(max=max(0, batch.targets_BS.shape[1] - 1))
        known_BF = places_F < torch.minimum(frames_B, labelled_B)[:, None]
        return MaskedBatch(
            **{name: getattr(batch, name) for name in Batch.__dataclass_fields__},
            units_BF=batch.targets_BS[:, at_F],
            mask_BF=mask_BF,
            masked_N=(mask_BF & known_BF).flatten().nonzero()[:, 0],
            unmasked_N=(~mask_BF & known_BF).flatten().nonzero()[:, 0],
        )

    def _rng(self, batch: Batch) -> np.random.Generator:
        if self._fixed:
            return np.random.default_rng(zlib.crc32("\n".join(batch.ids).encode()))
        return np.random.default_rng(int(torch.randint(2**62, ())))  # so that a resumed training draws the same


def check_rate(labels: Labels, *, frame_rate_hz: float) -> None:
    """Refuse labels that are no multiple of the model's frames.

    Raises:
        ValueError: they are not.
    """
    if not (ratio := labels.rate_hz / frame_rate_hz).is_integer():
        raise ValueError(
            f"{labels.folder} has {labels.rate_hz:g} labels per second, and the model {frame_rate_hz:g} frames, {ratio:g} labels "
            "each. Make labels with as many or a multiple of it: from MFCCs (100) or a model with the same hop"
        )
