"""One call of `Trainer.fit`, step by step."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from tqdm.auto import tqdm

from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import choose_device, prepare_process
from mlsuperb.runtime.ending import finished_first, saved_if_ended
from mlsuperb.runtime.speed import peak_memory_gb
from mlsuperb.runtime.variables import take_out_accelerates
from mlsuperb.training.checkpoint import (
    CheckpointFolder,
    KeptEpochs,
    disk_forecast,
    load_trained,
    restore_rng,
    save_weights,
    trained_tensors,
)
from mlsuperb.training.distributed import full, put_together, seed_rank, shard, unsynchronised, whole, wrapped
from mlsuperb.training.losses import PendingLosses, count_skipped, refuse_no_result, share_of
from mlsuperb.training.memory import drawn, memory_errors_named
from mlsuperb.training.parameters import (
    Unfreezing,
    check_cap,
    check_gradients,
    count_trained,
    groups_of,
    parameter_groups,
)
from mlsuperb.training.progress import PROGRESS_FILE, Estimate, Progress
from mlsuperb.training.settings import TrainingSettings
from mlsuperb.training.trackers import Trackers
from mlsuperb.training.trainable import Batch, Trainable, compile_blocks
from mlsuperb.training.turns import Turn, make_turn
from mlsuperb.types import Loss

log = logging.getLogger(__name__)

MODEL_FILE = "model.safetensors"
Batches = Callable[[int], Iterator[Batch]]  # an endless stream of training batches, from the given iteration on


class Loop:
    """The state that the steps of a training share."""

    def __init__(
        self,
        settings: TrainingSettings,
        *,
        model: Trainable,
        validate: Callable[[], dict[str, float]],
        folder: Path,
        on_progress: Callable[..., None],
        trackers: Trackers,
    ) -> None:
        self.settings, self.model, self.validate, self.folder = settings, model, validate, folder
        self.on_progress, self.trackers = on_progress, trackers
        self.device = prepare_process(choose_device(settings.device))
        self.progress = Progress()
        self.checkpoints, self.kept = CheckpointFolder(folder / "checkpoints"), KeptEpochs(folder / "best")
        self._seed = torch.initial_seed()
        self._seen = 0  # examples that this rank has trained on and `progress` does not have yet
        self._set_up()

    def _set_up(self) -> None:
        take_out_accelerates()
        AcceleratorState._reset_state(reset_partial_state=True)  # a sweep trains several models in one process
        settings = self.settings
        check_cap(count_trained(self.model), settings.max_trainable_params, self.model.advice)
        self.accelerator = Accelerator(  # joins the ranks that are there
            cpu=self.device.type == "cpu",
            mixed_precision="bf16" if settings.precision == "bf16" else "no",
        )
        if settings.compile:
            compile_blocks(self.model.blocks())
        self.model.to(self.device)
        if settings.parallel == "fsdp":
            if ranks.world() > 1:
                shard(self.model)
            else:
                log.info("trainer.parallel=fsdp: there is one process, so nothing is shared out")
        self._set_up_turns()

    def _set_up_turns(self) -> None:
        settings, turns = self.settings, self.model.turns
        trained = {name: parameter for turn in turns for name, parameter in self.model.trained(turn)}
        groups = parameter_groups(trained, settings.learning_rates)
        num_updates = settings.num_iterations // settings.accumulate
        self.unfreezing = Unfreezing(trained, settings.unfreeze_after, num_updates=num_updates)
        optimizers = {turn: settings.optimizer(groups_of(groups, dict(self.model.trained(turn)))) for turn in turns}
        some_wait = any(settings.unfreeze_after.values()) or len(turns) > 1 or self.model.uneven
        self.wrapped = wrapped(self.accelerator, self.model, some_wait=some_wait)
        eager = self.device.type == "cpu" and not settings.max_skipped_steps
        self.turns = [
            make_turn(
                name, dict(self.model.trained(name)), trained, optimizer, self.accelerator,
                factor=lambda update: settings.schedule(update, num_updates), losses=PendingLosses(self.progress, eager=eager),
            )
            for name, optimizer in optimizers.items()
        ]  # fmt: skip

    def run(self, batches: Batches) -> None:
        settings, progress = self.settings, self.progress
        self._resume()
        self.trackers.start(progress)
        total, done = settings.num_iterations, progress.iteration
        log.info("%s iterations, epochs: %d; %s done", f"{total:,}", settings.max_epochs, f"{done:,}")
        log.info(disk_forecast(self.model, self.folder, keep_best=settings.num_kept))
        self.model.train()
        shown: dict[str, Any] = {"desc": "train", "unit": "it", "dynamic_ncols": True, "disable": not ranks.is_main()}
        try:
            with tqdm(total=total, initial=done, **shown) as bar:
                self._train(drawn(batches(done), self.model.advice), bar)
        finally:
            self.trackers.finish()
        self._finish()

    def _train(self, stream: Iterator[Batch], bar: tqdm[Any]) -> None:
        settings, progress = self.settings, self.progress
        estimate = Estimate(progress, total=settings.num_iterations)
        while not self._finished():
            started = time.perf_counter()
            if progress.iteration == (progress.epoch + 1) * settings.iterations_per_epoch:
                self._end_epoch(bar)
            else:
                # several ranks are told to end at different iterations, where they cannot save together
                with finished_first(self._checkpoint) if ranks.world() == 1 else nullcontext():
                    amount = self._update(stream, bar)
                if estimate.is_warm:
                    progress.timed_audio_s += amount
                    progress.timed_s += time.perf_counter() - started
                if progress.iteration % settings.checkpoint_every < settings.accumulate:
                    self._checkpoint()
                if message := estimate.tick(self.device):
                    log.info(message)
            progress.wall_s += time.perf_counter() - started

    def _finished(self) -> bool:
        settings, progress = self.settings, self.progress
        if progress.epoch >= settings.max_epochs:
            return True
        if settings.patience is None or not progress.history:
            return False
        return progress.epoch - progress.ranked(settings.select_by)[0] >= settings.patience

    def _update(self, stream: Iterator[Batch], bar: tqdm[Any]) -> float:
        """One update of the weights in each turn: `accumulate` iterations; returns the amount of data in them."""
        settings, progress, self._amount = self.settings, self.progress, 0.0
        batches: Iterable[Batch] = self._draw(stream)
        if len(self.turns) > 1:  # an ordinary training needs no more than one at a time
            batches = list(batches)
        for turn in self.turns:
            with self.unfreezing.held(progress.iteration // settings.accumulate, turn.others):
                if moves := turn.moves:
                    self._add_gradients(turn, batches)
            if moves:
                self._step(turn)
            turn.scheduler.step()
        progress.iteration += settings.accumulate
        bar.update(settings.accumulate)
        if progress.iteration % settings.log_every < settings.accumulate:
            self._log(bar)
        return self._amount

    def _draw(self, stream: Iterator[Batch]) -> Iterator[Batch]:
        """The batches of an update."""
        for batch in islice(stream, self.settings.accumulate):
            self._seen += len(batch.ids) if batch.share else 0
            self._amount += batch.amount * ranks.world()  # the others have as much: batches are dealt out equally
            yield batch

    def _add_gradients(self, turn: Turn, batches: Iterable[Batch]) -> None:
        accumulate = self.settings.accumulate
        for number, batch in enumerate(batches, 1):
            with unsynchronised(self.wrapped, number < accumulate and not self.model.uneven):
                self._iteration(batch, turn, self.progress.iteration + number)
        check_gradients(self.model, self.model.advice)

    def _iteration(self, batch: Batch, turn: Turn, iteration: int) -> None:
        """One batch forward and backward, or this rank's share of it: the gradient of the whole is the mean over ranks."""
        with memory_errors_named(batch, self.model.advice), ranks.counting(batch.share > 0):
            result: Loss = self.wrapped(batch.to(self.device), turn.name)
            share = share_of(batch, result)
            self.accelerator.backward(result.loss * (share * ranks.world()) / self.settings.accumulate)
        turn.losses.add(iteration, batch, result, share=share)

    def _step(self, turn: Turn) -> None:
        """Move what the turn trains, unless a gradient is not finite and that is allowed."""
        settings = self.settings
        norm = self.accelerator.clip_grad_norm_(turn.trained, settings.grad_clip or math.inf)
        turn.losses.add_gradient_norm(full(norm))
        dropped = turn.losses.drop_unless_finite(settings.accumulate) if settings.max_skipped_steps else None
        if dropped is None:
            with memory_errors_named("at the update of the weights", self.model.advice):  # Adam's moments
                turn.optimizer.step()
        else:
            count_skipped(self.progress, dropped, limit=settings.max_skipped_steps)
        turn.optimizer.zero_grad(set_to_none=True)

    def _log(self, bar: tqdm[Any]) -> None:
        curves, progress = self._read(), self.progress
        losses = {name.removeprefix("train/"): f"{one:.3f}" for name, one in curves.items() if "/loss" in name}
        bar.set_postfix(epoch=progress.epoch + 1, **losses)
        for turn in self.turns:
            curves |= turn.learning_rates()
        self.trackers.log(curves, progress)
        self._tell()

    def _read(self) -> dict[str, float]:
        """Read what waits on the device; returns curves."""
        curves = {name: value for turn in self.turns for name, value in turn.read().items()}
        self.progress.num_utterances += sum(ranks.gather(self._seen))
        self._seen = 0
        return curves

    def _tell(self) -> None:
        progress, total = self.progress, self.settings.num_iterations
        self.on_progress(iteration=progress.iteration, num_iterations=total, epoch=progress.epoch)

    def _end_epoch(self, bar: tqdm[Any]) -> None:
        """Validate, rank the epoch, keep its weights if they are to be kept, save everything."""
        settings, progress = self.settings, self.progress
        self._read()
        bar.set_description("validate")
        self.model.eval()
        with whole(self.model), saved_if_ended(self._checkpoint) if ranks.world() == 1 else nullcontext():
            figures, learned, kept = self.validate(), self.model.curves(), self.model.kept_curves()
        self.model.train()
        bar.set_description("train")
        if settings.select_by not in figures:
            raise ValueError(f"trainer.select_by={settings.select_by} is no figure of the validation: {list(figures)}")
        refuse_no_result(figures)
        epoch = progress.epoch + 1
        trained = {name: value for turn in self.turns for name, value in turn.end_epoch().items()}
        measured = {**trained, **figures}
        progress.history.append({"epoch": epoch, **measured, **kept})
        self._keep(epoch)
        curves = {f"valid/{name.removeprefix('valid_')}": value for name, value in figures.items()}
        self.trackers.validated({**curves, **learned}, progress)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in measured.items())
        best = "  (best)" if progress.ranked(settings.select_by)[0] == epoch else ""
        log.info("epoch %d/%d: %s%s", epoch, settings.max_epochs, shown, best)
        self._tell()

    def _keep(self, epoch: int) -> None:
        """Choose the epochs whose weights are kept, now that `epoch` is known; write, then drop."""
        settings, progress = self.settings, self.progress
        ranked = progress.ranked(settings.select_by)
        progress.best = [epoch] if settings.keep == "last" else ranked[: settings.num_kept]
        if epoch in progress.best:
            self.kept.save(epoch, trained_tensors(self.model))
        self._checkpoint()
        self.kept.drop_all_but(progress.best)

    def _checkpoint(self) -> None:
        self._read()
        self.progress.memory_gb = self.progress.peak_gb(self.device)
        weights, state = trained_tensors(self.model), {"progress": self.progress.to_dict()}
        for turn in self.turns:
            state |= turn.state()
        if ranks.is_main():
            self.checkpoints.save(self.progress.iteration, num_epochs=self.progress.epoch, weights=weights, state=state)
        seed_rank(self._seed, iteration=self.progress.iteration)

    def _resume(self) -> None:
        checkpoint = ranks.from_main(self.checkpoints.latest)
        if checkpoint is not None:
            state = self.checkpoints.load(checkpoint, model=self.model)
            for turn in self.turns:
                turn.load(state)
            vars(self.progress).update(state["progress"])
            if ranks.is_main():
                restore_rng(state["rng"])
            log.info("resuming from iteration %d (%s)", self.progress.iteration, checkpoint)
        seed_rank(self._seed, iteration=self.progress.iteration)

    def _finish(self) -> None:
        progress = self.progress
        if ranks.is_main():
            progress.save(self.folder / PROGRESS_FILE)
            save_weights(self.kept.mean(progress.best), self.folder / MODEL_FILE)
        ranks.wait()
        load_trained(self.model, self.folder / MODEL_FILE)
        put_together(self.model)
        self.model.eval()
        log.info("ends with the weights of epochs %s; peak memory %.1f GB", progress.best, peak_memory_gb(self.device))
