"""The labels that a model is pre-trained on: those of a run of job=labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt

from mlsuperb.data.loading import Loading
from mlsuperb.pretraining.dataset import MaskedSpeech, check_rate
from mlsuperb.pretraining.masking import SpanMasking
from mlsuperb.units.labels import LABELS, Labels
from mlsuperb.upstreams.selfsupervised import SelfSupervised


@dataclass(kw_only=True)
class Targets:
    """Labels of an earlier run, which brings the speech with it.

    Args:
        run: folder of the run of job=labels.
        num_valid: dev utterances of each (dataset, language) to validate on, at most, chosen at random: five in mHuBERT-147.
    """

    run: str
    num_valid: PositiveInt = 5

    @classmethod
    def problems(cls, *, run: str, **_: Any) -> list[str]:
        """Whether there is such a run, with labels."""
        if (Path(run) / LABELS).is_dir():
            return []
        return [
            f"targets.run={run} is not the folder of a run of job=labels: it has no {LABELS}/. Give the folder that it printed"
        ]

    @property
    def folder(self) -> Path:
        """Of the labels."""
        return Path(self.run) / LABELS

    def open(self, upstream: SelfSupervised) -> Labels:
        """The labels, checked against their audio and the frames of a model.

        Raises:
            ValueError: they do not fit, or some are missing.
        """
        labels = Labels(self.folder)
        check_rate(labels, frame_rate_hz=upstream.frame_rate_hz)
        return labels

    def dataset(
        self, labels: Labels, split: str, *, upstream: SelfSupervised, masking: SpanMasking, loading: Loading
    ) -> MaskedSpeech:
        """The labelled rows of a split, with masks for a model.

        Raises:
            ValueError: there is none.
        """
        chosen = labels.manifest[labels.manifest["split"] == split]
        if split != "train":
            shuffled = chosen.sample(frac=1, random_state=10)  # the seed of the authors' `create_valid_set.py`
            chosen = shuffled.groupby(["dataset", "language"]).head(self.num_valid).sort_index()
        rows = chosen.index.to_numpy()
        if not len(rows):
            raise ValueError(
                f"{self.folder} has no labelled {split} utterance. Label that split, too (labelling.splits=[train,dev]); a "
                "corpus without dev utterances gets some by +data/preparation=mhubert_147"
            )
        return MaskedSpeech(
            labels, rows, masking=masking, num_frames=upstream.input.num_frames, frame_rate_hz=upstream.frame_rate_hz,
            fixed=split != "train", keep_gb=loading.kept_gb,
        )  # fmt: skip

    def record(self, labels: Labels) -> dict[str, Any]:
        """What is pinned to a training, so that it does not go on with other labels."""
        return {
            "codebook": labels.about.codebook,
            "num_rows": len(labels),
            "num_frames": int(labels.lengths_N.sum(dtype=np.int64)),
        }
