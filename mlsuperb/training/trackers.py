"""Where a training can be watched: curves, texts and settings for TensorBoard and wandb. Nothing here draws random numbers or
changes a model: a run has the same numbers with trackers and without."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlsuperb.runtime import ranks
from mlsuperb.training.progress import Progress

CURVES = "curves"  # TensorBoard's files, in a run's folder
PROJECT = "mlsuperb"  # of wandb
TEXTS = "valid/texts"


@dataclass(frozen=True)
class Sample:
    """What a model made of a validation utterance."""

    id: str
    reference: str
    hypothesis: str


class Tracker(Protocol):
    """One place where a training is watched."""

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Points of curves."""
        ...

    def texts(self, samples: Sequence[Sample], *, step: int) -> None:
        """References with hypotheses."""
        ...

    def finish(self) -> None:
        """Write what is left."""
        ...


class TensorBoard:
    """Files in `curves` of the run's folder. Points that a killed run wrote after the checkpoint from which it goes on (`done`
    iterations) are dropped."""

    def __init__(self, folder: Path, *, settings: Mapping[str, Any], done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self.writer = SummaryWriter(str(folder / CURVES), purge_step=done + 1)
        if settings and not done:  # `add_hparams` would begin a run of its own
            for summary in hparams(dict(flat(settings)), {"valid/loss": 0.0}):
                self.writer._get_file_writer().add_summary(summary)

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, global_step=step)
        self.writer.flush()

    def texts(self, samples: Sequence[Sample], *, step: int) -> None:
        # indented, so that Markdown takes every text as it is
        lines = [
            line for one in samples for line in (one.id, f"  ref  {one.reference}", f"  hyp  {one.hypothesis}", "")
        ]
        self.writer.add_text(TEXTS, "\n".join(f"    {line}" for line in lines), global_step=step)
        self.writer.flush()

    def finish(self) -> None:
        self.writer.close()


class WandB:
    """A run of wandb with the id and the name of ours; a run that goes on is the same one there, too. wandb drops the points that
    it has already: they are the same."""

    def __init__(self, folder: Path, *, settings: Mapping[str, Any], project: str) -> None:
        import wandb

        name = str(settings.get("run_id", folder.name))
        self.run = wandb.init(
            project=project, name=name, id=re.sub(r"[^\w.-]", "-", name)[-128:], resume="allow", dir=str(folder),
            config=dict(settings),
        )  # fmt: skip

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        self.run.log(dict(values), step=step)

    def texts(self, samples: Sequence[Sample], *, step: int) -> None:
        import wandb

        rows = [[one.id, one.reference, one.hypothesis] for one in samples]
        self.run.log({TEXTS: wandb.Table(columns=["id", "reference", "hypothesis"], data=rows)}, step=step)

    def finish(self) -> None:
        self.run.finish()


class Trackers:
    """The trackers of a training; on one rank only.

    Args:
        names: `tensorboard`, `wandb`.
        settings: the whole configuration of the run.
        samples: called after a validation: a few of its utterances.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        folder: Path,
        project: str = PROJECT,
        settings: Mapping[str, Any] | None = None,
        samples: Callable[[], Sequence[Sample]] = tuple,
    ) -> None:
        self.names, self.folder, self.project = tuple(names), folder, project
        self.settings, self.samples = settings or {}, samples
        self.every: list[Tracker] = []
        self._speed = (0.0, 0.0)

    def start(self, progress: Progress) -> None:
        """Begin, or go on from `progress`."""
        self._speed = (progress.timed_audio_s, progress.timed_s)
        if not ranks.is_main():
            return
        if "tensorboard" in self.names:
            self.every.append(TensorBoard(self.folder, settings=self.settings, done=progress.iteration))
        if "wandb" in self.names:
            self.every.append(WandB(self.folder, settings=self.settings, project=self.project))

    def log(self, values: Mapping[str, float], progress: Progress) -> None:
        """Points of a training, with the speed since the last ones: seconds of audio (or `Batch.amount`) per second."""
        amount, seconds = progress.timed_audio_s - self._speed[0], progress.timed_s - self._speed[1]
        if amount > 0 < seconds:
            values = {**values, "train/speed": amount / seconds}
            self._speed = (progress.timed_audio_s, progress.timed_s)
        self._log(values, progress.iteration)

    def validated(self, figures: Mapping[str, float], progress: Progress) -> None:
        """Figures of a validation, with a few of its texts."""
        self._log(figures, progress.iteration)
        if samples := self.samples():
            for tracker in self.every:
                tracker.texts(samples, step=progress.iteration)

    def finish(self) -> None:
        """Write what is left."""
        for tracker in self.every:
            tracker.finish()
        self.every.clear()

    def _log(self, values: Mapping[str, float], step: int) -> None:
        for tracker in self.every:
            tracker.log(values, step=step)


def flat(node: Mapping[str, Any], *, inside: str = "") -> Iterator[tuple[str, str | float | bool]]:
    """Settings as `a.b.c` and a plain value; lists as text."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from flat(value, inside=f"{inside}{name}.")
        else:
            yield f"{inside}{name}", value if isinstance(value, (str, bool, int, float)) else str(value)
