"""Settings of labelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from mlsuperb.data.sampling import TwoLevel
from mlsuperb.pretraining.records import LabelsResult
from mlsuperb.runs import store
from mlsuperb.units.labels import LABELS


@dataclass(kw_only=True)
class LabelSettings:
    """What is labelled, and with which codebook.

    Args:
        run: folder of a run whose codebook is used; None fits a new one.
        splits: of the corpus to label; a codebook is fitted on `train`.
        sampling: how much of each language and dataset the clustering sees, by hours; None: as much as the corpus has.
        sample_gb: features that are held in memory for clustering, at most.
        frames_per_unit: of these features, at most. k-means looks at 256 drawn at random; the more there are to draw from, the
            more utterances they come from.
        rows_per_shard: utterances in a file of labels: what a killed run has to compute again, at most. A run that was begun with
            another number goes on with that.
    """

    not_science: ClassVar = ("rows_per_shard",)

    run: str | None = None
    splits: tuple[str, ...] = ("train", "dev")
    sampling: TwoLevel | None = None
    sample_gb: PositiveFloat = 4.0
    frames_per_unit: PositiveInt = 1024
    rows_per_shard: Annotated[PositiveInt, Field(le=10**6)] = 1000

    @classmethod
    def problems(
        cls, *, run: str | None, splits: Sequence[str], sampling: Mapping[str, Any] | None, **_: Any
    ) -> list[str]:
        """What can be seen from the settings and the folder of the other run."""
        found = [problem] if run is not None and (problem := labels_problem("labelling.run", run)) else []
        if sampling is not None and sampling.get("by", TwoLevel.by) == "utterances":
            found.append(
                "labelling.sampling.by=utterances has no effect: the memory that a clustering may take is shared out by hours. "
                "Give labelling.sampling.by=hours"
            )
        if run is None and "train" not in splits:
            found.append(
                f"labelling.splits={list(splits)}: a new codebook is fitted on train; add it, or give labelling.run"
            )
        return found


def labels_problem(setting: str, run: str) -> str | None:
    """Why a folder is not that of a finished run of job=labels, else None. `setting`: what it was given by."""
    return store.finished_problem(setting, run, LabelsResult, job=LabelsResult.kind, holds=LABELS)
