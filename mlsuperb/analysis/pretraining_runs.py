"""The runs that a page about pre-training is made of: labels and trainings with their names, in the order of their inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlsuperb.analysis.pretraining_table import in_order
from mlsuperb.analysis.runs import short_names
from mlsuperb.pretraining.records import LabelsResult, PretrainingResult
from mlsuperb.runs import store
from mlsuperb.runs.result import Result


@dataclass(frozen=True)
class Runs:
    """Name -> folder and result."""

    all: Mapping[str, tuple[Path, Result]]

    @property
    def labels(self) -> dict[str, tuple[Path, LabelsResult]]:
        """The runs of job=labels."""
        return {name: (at, one) for name, (at, one) in self.all.items() if isinstance(one, LabelsResult)}

    @property
    def trainings(self) -> dict[str, tuple[Path, PretrainingResult]]:
        """The runs of job=pretrain."""
        return {name: (at, one) for name, (at, one) in self.all.items() if isinstance(one, PretrainingResult)}

    def labels_of(self, training: PretrainingResult) -> Path | None:
        """The folder of the labels that a training predicted, if they are among these runs."""
        wanted = training.inputs["targets"].run_id
        return next((folder for folder, one in self.labels.values() if one.run_id == wanted), None)

    def name_of(self, run_id: str) -> str:
        """The name of a run; its id if it is not among these."""
        return next((name for name, (_, one) in self.all.items() if one.run_id == run_id), run_id)


def named_runs(runs: Mapping[Path, Result]) -> Runs:
    """Runs of job=labels and job=pretrain, and the labels of these trainings that lie where the training found them."""
    found = dict(runs)
    for one in runs.values():
        given = {other.run_id for other in found.values()}
        if isinstance(one, PretrainingResult) and one.inputs["targets"].run_id not in given:
            found |= _labels_taken(one)
    ordered = in_order(found)
    names = short_names([result.run_id for result in ordered.values()])
    return Runs(dict(zip(names, ordered.items(), strict=True)))


def _labels_taken(training: PretrainingResult) -> dict[Path, Result]:
    """The labels that a training took, by their folder; none where others or none lie there now."""
    folder = Path(training.config["targets"]["run"])
    try:
        same = store.as_input(folder) == training.inputs["targets"].model_dump()
        return {folder: store.read(folder, LabelsResult)} if same else {}
    except ValueError:  # there is no result
        return {}
