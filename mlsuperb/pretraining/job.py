"""The job that pre-trains an upstream by masked prediction of units, as HuBERT and mHuBERT-147 are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from mlsuperb.runs.decoding import Transcriber
    from mlsuperb.runs.run import Run


class Pretraining:
    """See `mlsuperb.runs.job.Job`. Leaves `huggingface/` in the run's folder, for `upstream=pretrained upstream.run=FOLDER`, for
    `upstream=hf upstream.checkpoint=FOLDER/huggingface` and for transformers."""

    groups: ClassVar = (
        "upstream",
        "adaptation",
        "targets",
        "masking",
        "prediction",
        "preservation",
        "loading",
        "trainer",
    )
    optional: ClassVar = frozenset({"adaptation", "preservation"})
    settings: ClassVar = ()
    runtime: ClassVar[dict[str, frozenset[str]]] = {}

    @classmethod
    def misfits(cls, config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
        """An upstream that cannot be pre-trained, an adaptation that leaves none behind."""
        from mlsuperb.pretraining.misfits import adaptation_misfits, preservation_misfits, upstream_misfits
        from mlsuperb.training.settings import select_misfits

        of_parts = (find(config, groups) for find in (upstream_misfits, adaptation_misfits, preservation_misfits))
        return chain(*of_parts, select_misfits(config, groups, figures=["valid_loss"]))

    def __call__(self, config: Mapping[str, Any], run: Run) -> None:
        """The data flow."""
        from mlsuperb.pretraining import build, result

        parts = build.build(config, run=run)
        progress = build.train(config, parts, run=run)
        result.save_result(config, run, parts=parts, progress=progress)

    @classmethod
    def leaves(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """See `mlsuperb.runs.job.Job`."""
        return ("config.yaml", "huggingface")

    def load(self, folder: Path, *, device: str) -> Transcriber:
        """Nothing: a pre-trained model knows no text.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"{folder} holds a pre-trained model, which transcribes nothing by itself. Train a head on it: "
            f"python -m mlsuperb.run +exp=... upstream=pretrained upstream.run={folder}"
        )

    def show(self, folder: Path) -> None:
        """Losses and accuracies, where the model is."""
        from mlsuperb.pretraining.result import show

        show(folder)
