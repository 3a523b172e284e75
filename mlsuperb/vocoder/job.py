"""The job that trains a unit vocoder: speech from the units of a codebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from mlsuperb.runs.decoding import Transcriber
    from mlsuperb.runs.run import Run


class Vocoding:
    """See `mlsuperb.runs.job.Job`. Leaves `vocoder/` in the run's folder, for `mlsuperb units synthesise --vocoder FOLDER`."""

    groups: ClassVar = ("targets", "vocoder", "loading", "trainer")
    optional: ClassVar[frozenset[str]] = frozenset()
    settings: ClassVar = ()
    runtime: ClassVar[dict[str, frozenset[str]]] = {}

    @classmethod
    def misfits(cls, config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
        """An optimiser of weights that are not whole on any device; whether the other parts fit depends on the labels."""
        from mlsuperb.training.settings import select_misfits

        if "trainer" in groups and config["trainer"].get("parallel") == "fsdp":
            yield "job=vocoder trains a small model in two turns: set trainer.parallel=ddp"
        yield from select_misfits(config, groups, figures=["valid_mel_l1", "valid_duration_error"])

    def __call__(self, config: Mapping[str, Any], run: Run) -> None:
        """The data flow."""
        from mlsuperb.vocoder import build, result

        parts = build.build(config, run=run)
        progress = build.train(config, parts, run=run)
        result.save_result(config, run, parts=parts, progress=progress)

    @classmethod
    def leaves(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """See `mlsuperb.runs.job.Job`."""
        return ("config.yaml", "vocoder")

    def load(self, folder: Path, *, device: str) -> Transcriber:
        """Nothing: a vocoder transcribes nothing.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"{folder} holds a unit vocoder, which transcribes nothing: it makes speech of units. Give it units: mlsuperb units "
            f"synthesise UNITS --vocoder {folder} --out DIR"
        )

    def show(self, folder: Path) -> None:
        """Distances of dev utterances to their copies; where the vocoder is."""
        from mlsuperb.vocoder.result import show

        show(folder)
