"""The one training loop. It knows a model that returns a `Loss` for a batch (`mlsuperb.training.trainable`), a stream of batches
and a validation; what is trained, and for which task, is not its business."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsuperb.training.loop import Batches, Loop
from mlsuperb.training.progress import Progress
from mlsuperb.training.settings import TrainingSettings
from mlsuperb.training.trackers import Sample, Trackers
from mlsuperb.training.trainable import Trainable


@dataclass(kw_only=True)
class Trainer(TrainingSettings):
    """The loop with its settings."""

    def fit(
        self,
        model: Trainable,
        *,
        batches: Batches,
        validate: Callable[[], dict[str, float]],
        folder: Path,
        on_progress: Callable[..., None] = lambda **_: None,
        config: Mapping[str, Any] | None = None,
        samples: Callable[[], Sequence[Sample]] = tuple,
    ) -> Progress:
        """Train `model`, from the last checkpoint in `folder` if there is one, and leave it with the weights of `keep`,
        which are written to `<folder>/model.safetensors`.

        Args:
            model: see `Trainable`.
            batches: training batches without end, from a given iteration on.
            validate: figures of the model after an epoch, by name.
            folder: of the run.
            on_progress: told `iteration`, `num_iterations` and `epoch` now and then, as `Run.status` takes them.
            config: of the run, for trackers.
            samples: a few utterances of the validation before, for trackers.

        Raises:
            ValueError: the loss is not finite, too much is trained, a setting names a part that is not trained, or the
                checkpoint belongs to another model.
            OSError: the disk is full.
        """
        trackers = Trackers(self.trackers, folder=folder, project=self.project, settings=config, samples=samples)
        loop = Loop(self, model=model, validate=validate, folder=folder, on_progress=on_progress, trackers=trackers)
        loop.run(batches)
        return loop.progress
