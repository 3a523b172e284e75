"""The one training loop. It knows a model that returns a `Loss` for a batch, a stream of batches and a validation; what is
trained, and for which task, is not its business."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from mlsuperb.training.checkpoint import (
    CheckpointFolder,
    average,
    disk_forecast,
    load_trained,
    restore_rng,
    save_weights,
    trained_tensors,
)
from mlsuperb.training.device import choose_device, device_problem
from mlsuperb.training.losses import PendingLosses
from mlsuperb.training.progress import PROGRESS_FILE, Estimate, Progress, peak_memory_gb
from mlsuperb.training.schedules import Constant, Schedule
from mlsuperb.types import Batch, Loss

log = logging.getLogger(__name__)

MODEL_FILE = "model.safetensors"


Batches = Callable[[int], Iterator[Batch]]  # an endless stream of training batches, from the given iteration on


@dataclass(kw_only=True)
class Trainer:
    """Settings of a training, and the loop that follows them.

    An iteration is one batch forward and backward; `accumulate` iterations make one update of the weights. An epoch is a
    fixed number of iterations, whatever the size of the corpus (ESPnet's `num_iters_per_epoch`); after each the model is
    validated, and the weights of the `keep_best` best epochs are averaged in the end.

    Args:
        optimizer: builds the optimiser from the trained parameters.
        iterations_per_epoch: a multiple of `accumulate`.
        max_epochs: at most so many.
        accumulate: iterations to an update; the loss of each counts 1 / accumulate.
        schedule: factor on the learning rate.
        grad_clip: largest L2 norm of the gradient; None for no clipping.
        precision: `bf16` computes in bfloat16 where autocast allows, weights stay fp32.
        device: `auto` takes the first CUDA device, else the CPU.
        keep_best: epochs to average.
        select_by: the figure of the validation that says which epochs are best; lower is better.
        patience: stop after so many epochs without a better one; None for never.
        checkpoint_every: iterations between checkpoints inside an epoch (there is one at the end of each besides).
        log_every: iterations between points of the training curve.
        trackers: where curves go: tensorboard, wandb.
    """

    optimizer: Callable[..., Optimizer]
    iterations_per_epoch: PositiveInt
    max_epochs: PositiveInt
    accumulate: PositiveInt = 1
    schedule: Schedule = field(default_factory=Constant)
    grad_clip: PositiveFloat | None = 5.0
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"
    keep_best: Annotated[int, Field(ge=1)] = 5
    select_by: str = "valid_loss"
    patience: PositiveInt | None = None
    checkpoint_every: PositiveInt = 1000
    log_every: PositiveInt = 20
    trackers: list[Literal["tensorboard", "wandb"]] = field(default_factory=lambda: ["tensorboard"])

    @classmethod
    def problems(
        cls, *, iterations_per_epoch: int, accumulate: int, device: str, trackers: list[str], **_: Any
    ) -> list[str]:
        """What can be seen without a model."""
        found = [problem] if (problem := device_problem(device)) else []
        if iterations_per_epoch % accumulate:
            found.append(
                f"trainer.iterations_per_epoch={iterations_per_epoch} must be a multiple of "
                f"trainer.accumulate={accumulate}, so that an epoch ends with an update"
            )
        if "wandb" in trackers:
            from importlib.util import find_spec

            if find_spec("wandb") is None:
                found.append("trainer.trackers has wandb, which is not installed: pip install 'mlsuperb[wandb]'")
        return found

    @property
    def num_iterations(self) -> int:
        """Iterations of the whole training."""
        return self.iterations_per_epoch * self.max_epochs

    def fit(
        self,
        model: nn.Module,
        *,
        batches: Batches,
        validate: Callable[[], dict[str, float]],
        folder: Path,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> Progress:
        """Train `model`, from the last checkpoint in `folder` if there is one, and leave it with the averaged weights,
        which are written to `<folder>/model.safetensors`.

        Raises:
            ValueError: the loss is not finite, or the checkpoint belongs to another model.
            OSError: the disk is full.
        """
        fit = _Fit(self, model=model, validate=validate, folder=folder, on_progress=on_progress)
        fit.run(batches)
        return fit.progress


class _Fit:
    """One call of `Trainer.fit`: the state that its steps share."""

    def __init__(
        self,
        settings: Trainer,
        *,
        model: nn.Module,
        validate: Callable[[], dict[str, float]],
        folder: Path,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.settings, self.model, self.validate, self.folder = settings, model, validate, folder
        self.on_progress = on_progress
        self.device = choose_device(settings.device)
        self.progress = Progress()
        self.checkpoints = CheckpointFolder(folder / "checkpoints")
        self.pending = PendingLosses(self.progress, eager=self.device.type == "cpu")
        self._set_up()

    def _set_up(self) -> None:
        AcceleratorState._reset_state(reset_partial_state=True)  # a sweep trains several models in one process
        settings = self.settings
        self.accelerator = Accelerator(
            cpu=self.device.type == "cpu",
            mixed_precision="bf16" if settings.precision == "bf16" else "no",
            log_with=list(settings.trackers) or None,
            project_dir=self.folder,
        )
        self.model.to(self.device)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = settings.optimizer(trained)
        num_updates = settings.num_iterations // settings.accumulate
        self.scheduler = LambdaLR(optimizer, lambda update: settings.schedule(update, num_updates))
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        self.trained = trained

    def run(self, batches: Batches) -> None:
        settings, progress = self.settings, self.progress
        self._resume()
        self._start_trackers()
        log.info(
            "%s iterations in %d epochs, %s done",
            f"{settings.num_iterations:,}",
            settings.max_epochs,
            f"{progress.iteration:,}",
        )
        log.info(disk_forecast(self.model, self.folder, keep_best=settings.keep_best))
        stream = batches(progress.iteration)
        estimate = Estimate(total=settings.num_iterations)
        self.model.train()
        with tqdm(
            total=settings.num_iterations, initial=progress.iteration, desc="train", unit="it", dynamic_ncols=True
        ) as bar:
            while not self._finished():
                started = time.perf_counter()
                if progress.iteration == (progress.epoch + 1) * settings.iterations_per_epoch:
                    self._end_epoch(bar)
                else:
                    self._update(stream, bar)
                    if progress.iteration % settings.checkpoint_every < settings.accumulate:
                        self._checkpoint()
                    if message := estimate.tick(progress.iteration, self.device):
                        log.info(message)
                progress.wall_s += time.perf_counter() - started
        self._finish()

    def _finished(self) -> bool:
        settings, progress = self.settings, self.progress
        if progress.epoch >= settings.max_epochs:
            return True
        if settings.patience is None or not progress.best:
            return False
        return progress.epoch - progress.best[0] >= settings.patience

    def _update(self, stream: Iterator[Batch], bar: tqdm[Any]) -> None:
        """One update of the weights: `accumulate` iterations."""
        settings, progress = self.settings, self.progress
        for _ in range(settings.accumulate):
            batch = next(stream).to(self.device)
            result: Loss = self.wrapped(batch)
            self.accelerator.backward(result.loss / settings.accumulate)
            progress.iteration += 1
            progress.num_utterances += len(batch.ids)
            self.pending.add(progress.iteration, batch.ids, result)
        if settings.grad_clip is not None:
            self.pending.add_gradient_norm(self.accelerator.clip_grad_norm_(self.trained, settings.grad_clip))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.scheduler.step()
        bar.update(settings.accumulate)
        if progress.iteration % settings.log_every < settings.accumulate:
            loss = self.pending.flush()
            bar.set_postfix(loss=f"{loss:.3f}", epoch=progress.epoch + 1)
            self.accelerator.log({"train/loss": loss, "train/lr": self.scheduler.get_last_lr()[0]}, progress.iteration)
            self.on_progress(progress)

    def _end_epoch(self, bar: tqdm[Any]) -> None:
        """Validate, rank the epoch, keep its weights if it is among the best, save everything."""
        settings, progress = self.settings, self.progress
        self.pending.flush()
        bar.set_description("validate")
        self.model.eval()
        figures = self.validate()
        self.model.train()
        bar.set_description("train")
        if settings.select_by not in figures:
            raise ValueError(
                f"trainer.select_by={settings.select_by} is not a figure of the validation: {list(figures)}"
            )
        epoch = progress.epoch + 1
        progress.history.append({"epoch": epoch, "train_loss": self.pending.epoch_mean(), **figures})
        progress.best = sorted(
            range(1, epoch + 1), key=lambda one: (progress.history[one - 1][settings.select_by], one)
        )[: settings.keep_best]
        if epoch in progress.best:
            save_weights(trained_tensors(self.model), self._epoch_file(epoch))
        self._checkpoint()
        for path in (self.folder / "best").glob("epoch_*.safetensors"):
            if path not in {self._epoch_file(one) for one in progress.best}:
                path.unlink()
        self.accelerator.log({f"valid/{k.removeprefix('valid_')}": v for k, v in figures.items()}, progress.iteration)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in progress.history[-1].items() if name != "epoch")
        log.info(
            "epoch %d/%d: %s%s", epoch, settings.max_epochs, shown, "  (best)" if progress.best[0] == epoch else ""
        )
        self.on_progress(progress)

    def _epoch_file(self, epoch: int) -> Path:
        return self.folder / "best" / f"epoch_{epoch:04d}.safetensors"

    def _checkpoint(self) -> None:
        self.pending.flush()
        self.checkpoints.save(
            self.progress.iteration,
            num_epochs=self.progress.epoch,
            weights=trained_tensors(self.model),
            state={
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "progress": self.progress.to_dict(),
                "epoch_losses": self.pending.epoch_losses,
            },
        )

    def _resume(self) -> None:
        checkpoint = self.checkpoints.latest()
        if checkpoint is None:
            return
        state = self.checkpoints.load(checkpoint, model=self.model)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        vars(self.progress).update(state["progress"])
        self.pending.epoch_losses[:] = state["epoch_losses"]
        restore_rng(state["rng"])
        log.info("resuming from iteration %d (%s)", self.progress.iteration, checkpoint)

    def _start_trackers(self) -> None:
        # purge_step drops the points that a killed run wrote after its last checkpoint
        purge = {"tensorboard": {"purge_step": self.progress.iteration + 1}} if self.progress.iteration else {}
        self.accelerator.init_trackers("curves", init_kwargs=purge)

    def _finish(self) -> None:
        progress = self.progress
        progress.save(self.folder / PROGRESS_FILE)
        save_weights(average([self._epoch_file(epoch) for epoch in sorted(progress.best)]), self.folder / MODEL_FILE)
        load_trained(self.model, self.folder / MODEL_FILE)
        self.model.eval()
        self.accelerator.end_training()
        log.info("averaged the weights of epochs %s; peak memory %.1f GB", progress.best, peak_memory_gb(self.device))
