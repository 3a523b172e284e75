"""The labels that a model is pre-trained on: those of a run of job=labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from mlsuperb.data.loading import Loading
from mlsuperb.data.shards import in_shards, is_folder_of_shards
from mlsuperb.pretraining.dataset import MaskedSpeech, check_rate
from mlsuperb.pretraining.labelling import labels_problem
from mlsuperb.pretraining.masking import SpanMasking
from mlsuperb.units.labels import LABELS, Labels, few_of_each
from mlsuperb.upstreams.selfsupervised import SelfSupervised


@dataclass(kw_only=True)
class Targets:
    """Labels of an earlier run, which brings the speech with it.

    Args:
        run: folder of the run of job=labels.
        num_valid: dev utterances of each (dataset, language) to validate on, at most, chosen at random: five in mHuBERT-147.
        shards: folder that `mlsuperb data shard` wrote of the corpus that was labelled; the audio is read from there. None: from
            where it was labelled, which is right for labels that were made of shards (`data=shar`).
    """

    run: str
    num_valid: PositiveInt = 5
    shards: str | None = None

    @classmethod
    def problems(cls, *, run: str, shards: str | None = None, **_: Any) -> list[str]:
        """Whether there is such a run, which has finished, and whether there are such shards."""
        found = [problem] if (problem := labels_problem("targets.run", run)) else []
        if shards is not None and not is_folder_of_shards(Path(shards)):
            found.append(f"targets.shards={shards} is not a folder that mlsuperb data shard wrote. Give its --out")
        return found

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
        self, labels: Labels, split: str, *, upstream: SelfSupervised, masking: SpanMasking, loading: Loading,
        fixed: bool | None = None,
    ) -> MaskedSpeech:  # fmt: skip
        """The labelled rows of a split, with masks for a model; `fixed`: the same ones every time (None: all but those of train).

        Raises:
            ValueError: there is none.
        """
        chosen = labels.rows(split)
        if split != "train":
            chosen = few_of_each(chosen, self.num_valid)
        if chosen.empty:
            raise ValueError(
                f"{self.folder} has no labelled {split} utterance. Label that split, too (labelling.splits=[train,dev]); a "
                "corpus without dev utterances gets some by +data/preparation=mhubert_147"
            )
        if self.shards is not None:
            chosen = in_shards(chosen, Path(self.shards))
        return MaskedSpeech(
            labels, chosen, masking=masking, num_frames=upstream.input.num_frames, frame_rate_hz=upstream.frame_rate_hz,
            fixed=split != "train" if fixed is None else fixed, keep_gb=loading.kept_gb,
        )  # fmt: skip
