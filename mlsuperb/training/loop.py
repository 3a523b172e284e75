"""One call of `Trainer.fit`, step by step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import choose_device
from mlsuperb.runtime.speed import peak_memory_gb
from mlsuperb.training.checkpoint import (
    CheckpointFolder,
    average,
    disk_forecast,
    load_trained,
    restore_rng,
    save_weights,
    trained_tensors,
)
from mlsuperb.training.distributed import (
    full,
    is_sharded,
    load_optimizer,
    put_together,
    replicate,
    seed_rank,
    shard,
    unsynchronised,
    whole,
)
from mlsuperb.training.losses import PendingLosses
from mlsuperb.training.memory import memory_errors_named
from mlsuperb.training.parameters import Unfreezing, check_cap, check_gradients, count_trained, parameter_groups
from mlsuperb.training.progress import PROGRESS_FILE, Estimate, Progress
from mlsuperb.types import Batch, Loss

if TYPE_CHECKING:
    from mlsuperb.training.trainer import Trainer

log = logging.getLogger(__name__)

MODEL_FILE = "model.safetensors"
Batches = Callable[[int], Iterator[Batch]]  # an endless stream of training batches, from the given iteration on


class Loop:
    """The state that the steps of a training share."""

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
        check_cap(count_trained(self.model), settings.max_trainable_params)
        self.accelerator = Accelerator(  # joins the ranks that are there
            cpu=self.device.type == "cpu",
            mixed_precision="bf16" if settings.precision == "bf16" else "no",
            log_with=list(settings.trackers) or None,
            project_dir=self.folder,
        )
        self.model.to(self.device)
        if settings.parallel == "fsdp":
            if ranks.world() > 1:
                shard(self.model)
            else:
                log.info("trainer.parallel=fsdp: there is one process, so nothing is shared out")
        groups = parameter_groups(self.model, settings.learning_rates)
        num_updates = settings.num_iterations // settings.accumulate
        self.unfreezing = Unfreezing(self.model, settings.unfreeze_after, num_updates=num_updates)
        optimizer = settings.optimizer(groups)
        self.scheduler = LambdaLR(optimizer, lambda update: settings.schedule(update, num_updates))
        self.wrapped, self.optimizer = self._wrap(optimizer)
        self.trained = [parameter for group in groups for parameter in group["params"]]

    def _wrap(self, optimizer: Optimizer) -> tuple[nn.Module, AcceleratedOptimizer]:
        # evaluation_mode: accelerate adds autocast and leaves the rest to us
        model = self.accelerator.prepare_model(self.model, evaluation_mode=True)
        if ranks.world() > 1 and not is_sharded(self.model):
            model = replicate(model, some_wait=any(self.settings.unfreeze_after.values()))
        return model, self.accelerator.prepare_optimizer(optimizer)

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
            total=settings.num_iterations,
            initial=progress.iteration,
            desc="train",
            unit="it",
            dynamic_ncols=True,
            disable=not ranks.is_main(),
        ) as bar:
            while not self._finished():
                started = time.perf_counter()
                if progress.iteration == (progress.epoch + 1) * settings.iterations_per_epoch:
                    self._end_epoch(bar)
                else:
                    audio_s = self._update(stream, bar)
                    if estimate.is_warm:
                        progress.timed_audio_s += audio_s
                        progress.timed_s += time.perf_counter() - started
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

    def _update(self, stream: Iterator[Batch], bar: tqdm[Any]) -> float:
        """One update of the weights: `accumulate` iterations; returns the seconds of audio in them."""
        settings, progress, audio_s = self.settings, self.progress, 0.0
        with self.unfreezing.held(progress.iteration // settings.accumulate):
            for left in reversed(range(settings.accumulate)):
                batch = next(stream).to(self.device)
                with unsynchronised(self.wrapped, left > 0):
                    self._iteration(batch)
                audio_s += batch.audio_s * ranks.world()  # the others have as much: batches are dealt out equally
            check_gradients(self.model)
        if settings.grad_clip is not None:
            norm = self.accelerator.clip_grad_norm_(self.trained, settings.grad_clip)
            self.pending.add_gradient_norm(full(norm))
        with memory_errors_named(None):  # Adam takes its memory at the first one
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.scheduler.step()
        bar.update(settings.accumulate)
        if progress.iteration % settings.log_every < settings.accumulate:
            loss = self.pending.flush()
            bar.set_postfix(loss=f"{loss:.3f}", epoch=progress.epoch + 1)
            self.accelerator.log({"train/loss": loss, **self._rates()}, progress.iteration)
            self.on_progress(progress)
        return audio_s

    def _rates(self) -> dict[str, float]:
        """The learning rate of each group of parameters, as curves."""
        prefixes = [group["prefix"] for group in self.optimizer.param_groups]
        rates = zip(prefixes, self.scheduler.get_last_lr(), strict=True)
        return {f"train/lr/{prefix}" if prefix else "train/lr": float(rate) for prefix, rate in rates}

    def _iteration(self, batch: Batch) -> None:
        """One batch forward and backward, or this rank's share of it: the gradient of the whole is the mean over ranks."""
        with memory_errors_named(batch), ranks.counting(batch.share > 0):
            result: Loss = self.wrapped(batch)
            self.accelerator.backward(result.loss * (batch.share * ranks.world()) / self.settings.accumulate)
        self.progress.iteration += 1
        self.pending.add(self.progress.iteration, batch, result)

    def _end_epoch(self, bar: tqdm[Any]) -> None:
        """Validate, rank the epoch, keep its weights if it is among the best, save everything."""
        settings, progress = self.settings, self.progress
        self.pending.flush()
        bar.set_description("validate")
        self.model.eval()
        with whole(self.model):
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
            self._save(trained_tensors(self.model), self._epoch_file(epoch))
        self._checkpoint()
        for path in (self.folder / "best").glob("epoch_*.safetensors"):
            if ranks.is_main() and path not in {self._epoch_file(one) for one in progress.best}:
                path.unlink()
        self.accelerator.log({f"valid/{k.removeprefix('valid_')}": v for k, v in figures.items()}, progress.iteration)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in progress.history[-1].items() if name != "epoch")
        log.info(
            "epoch %d/%d: %s%s", epoch, settings.max_epochs, shown, "  (best)" if progress.best[0] == epoch else ""
        )
        self.on_progress(progress)

    def _save(self, tensors: dict[str, Tensor], path: Path) -> None:
        if ranks.is_main():
            save_weights(tensors, path)

    def _epoch_file(self, epoch: int) -> Path:
        return self.folder / "best" / f"epoch_{epoch:04d}.safetensors"

    def _checkpoint(self) -> None:
        self.pending.flush()
        weights, optimizer = trained_tensors(self.model), full(self.optimizer.state_dict())
        if not ranks.is_main():
            return
        self.checkpoints.save(
            self.progress.iteration,
            num_epochs=self.progress.epoch,
            weights=weights,
            state={
                "optimizer": optimizer,
                "scheduler": self.scheduler.state_dict(),
                "progress": self.progress.to_dict(),
                "epoch_losses": self.pending.epoch_losses,
            },
        )

    def _resume(self) -> None:
        checkpoint = ranks.from_main(self.checkpoints.latest)
        if checkpoint is None:
            seed_rank(0)
            return
        state = self.checkpoints.load(checkpoint, model=self.model)
        load_optimizer(self.optimizer, state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        vars(self.progress).update(state["progress"])
        self.pending.epoch_losses[:] = state["epoch_losses"]
        if ranks.is_main():
            restore_rng(state["rng"])
        seed_rank(self.progress.iteration)
        log.info("resuming from iteration %d (%s)", self.progress.iteration, checkpoint)

    def _start_trackers(self) -> None:
        # purge_step drops the points that a killed run wrote after its last checkpoint
        purge = {"tensorboard": {"purge_step": self.progress.iteration + 1}} if self.progress.iteration else {}
        self.accelerator.init_trackers("curves", init_kwargs=purge)

    def _finish(self) -> None:
        progress = self.progress
        if ranks.is_main():
            progress.save(self.folder / PROGRESS_FILE)
            save_weights(
                average([self._epoch_file(epoch) for epoch in sorted(progress.best)]), self.folder / MODEL_FILE
            )
        ranks.wait()
        load_trained(self.model, self.folder / MODEL_FILE)
        put_together(self.model)
        self.model.eval()
        for tracker in self.accelerator.trackers:  # `end_training` would part the ranks, who have to decode yet
            tracker.finish()
        log.info("averaged the weights of epochs %s; peak memory %.1f GB", progress.best, peak_memory_gb(self.device))
