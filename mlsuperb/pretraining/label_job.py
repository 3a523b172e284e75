"""The job that gives every frame of a corpus a unit: take a sample, cluster it, label everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mlsuperb.units.labels import LABELS

if TYPE_CHECKING:
    from mlsuperb.runs.decoding import Transcriber
    from mlsuperb.runs.run import Run


class Labelling:
    """See `mlsuperb.runs.job.Job`. Leaves `labels/` in the run's folder (`mlsuperb.units.labels`)."""

    groups: ClassVar = ("upstream", "extraction", "clustering", "data", "labelling")
    optional: ClassVar[frozenset[str]] = frozenset()
    settings: ClassVar = ()
    runtime: ClassVar[dict[str, frozenset[str]]] = {}

    @classmethod
    def misfits(cls, config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
        """A layer that the upstream will not have."""
        from mlsuperb.pretraining.misfits import layer_misfits

        return layer_misfits(config, groups)

    def __call__(self, config: Mapping[str, Any], run: Run) -> None:
        """The data flow."""
        from mlsuperb.pretraining import labels_build, labels_result

        speech = labels_build.build_speech(config, run=run)
        codebook = labels_build.find_codebook(config, speech, folder=run.folder / LABELS)
        speed = labels_build.write_labels(config, speech, codebook, run=run)
        labels_result.save_result(config, run, speech=speech, codebook=codebook, speed=speed)

    @classmethod
    def leaves(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """See `mlsuperb.runs.job.Job`."""
        return ("config.yaml", "labels")

    def load(self, folder: Path, *, device: str) -> Transcriber:
        """Nothing: labels are no text.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"{folder} holds units, no text: it can neither be evaluated nor transcribe anything. See mlsuperb units --help"
        )

    def show(self, folder: Path) -> None:
        """Codebook, units in use, where the labels are."""
        from mlsuperb.pretraining.labels_result import show

        show(folder)
