"""Settings of labelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from mlsuperb.data.sampling import TwoLevel
from mlsuperb.units.labels import LABELS


@dataclass(kw_only=True)
class LabelSettings:
    """What is labelled, and with which codebook.

    Args:
        run: folder of a run whose codebook is used; None fits a new one.
        splits: of the corpus to label; a codebook is fitted on `train`.
        sampling: how much of each language and dataset the clustering sees; None: as much as the corpus has.
        sample_gb: features that are held in memory for clustering, at most.
        frames_per_unit: of these features, at most. k-means looks at 256 drawn at random; the more there are to draw from, the
            more utterances they come from.
        rows_per_shard: utterances in a file of labels: what a killed run has to compute again, at most.
    """

    not_science: ClassVar = ("rows_per_shard",)

    run: str | None = None
    splits: tuple[str, ...] = ("train", "dev")
    sampling: TwoLevel | None = None
    sample_gb: PositiveFloat = 4.0
    frames_per_unit: PositiveInt = 1024
    rows_per_shard: Annotated[PositiveInt, Field(le=10**6)] = 1000

    @classmethod
    def problems(cls, *, run: str | None, splits: Sequence[str], **_: Any) -> list[str]:
        """What can be seen from the settings and the folder of the other run."""
        found = []
        if run is not None and not (Path(run) / LABELS).is_dir():
            found.append(
                f"labelling.run={run} is not the folder of a run of job=labels: it has no {LABELS}/ with a codebook"
            )
        if run is None and "train" not in splits:
            found.append(
                f"labelling.splits={list(splits)}: a new codebook is fitted on train; add it, or give labelling.run"
            )
        return found
