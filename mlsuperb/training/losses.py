"""Reading the losses of a training without making the device wait for it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mlsuperb.runtime import ranks
from mlsuperb.training.progress import Progress
from mlsuperb.types import Batch, Loss


class _Waiting(NamedTuple):
    """Of one iteration: what this rank adds to the loss of the batch, and of which of its utterances."""

    iteration: int
    ids: tuple[str, ...]
    loss: Tensor
    counts: dict[str, Tensor]


class PendingLosses:
    """Losses that have not been looked at yet: reading one makes the host wait for the device, so they are read in groups,
    and always before anything is saved. On a CPU nothing waits, and every loss is checked at once. Where a batch is dealt out
    among ranks, its loss is known when they are read together: all ranks call everything here at the same places."""

    def __init__(self, progress: Progress, *, eager: bool) -> None:
        self._progress, self._eager = progress, eager and ranks.world() == 1
        self._waiting: list[_Waiting] = []
        self._last = float("nan")
        self.epoch_losses: list[float] = []

    def add(self, iteration: int, batch: Batch, result: Loss) -> None:
        counts = result.counts if batch.share else {name: 0 * number for name, number in result.counts.items()}
        ids = batch.ids if batch.share else ()
        self._waiting.append(_Waiting(iteration, ids, result.loss.detach() * batch.share, counts))
        if self._eager and not torch.isfinite(result.loss):
            self.flush()

    def add_gradient_norm(self, norm: Tensor) -> None:
        """A finite loss can still have a gradient that is not; it counts with the loss it belongs to."""
        last = self._waiting.pop()
        self._waiting.append(last._replace(loss=last.loss + 0 * norm.detach()))
        if self._eager and not torch.isfinite(norm):
            self.flush()

    def flush(self) -> float:
        """Read what is waiting; returns its mean loss.

        Raises:
            ValueError: a loss is not finite; names the batch.
        """
        if not self._waiting:
            return self._last
        own = torch.stack([one.loss for one in self._waiting]).double().cpu()
        names = self._waiting[0].counts
        counts = {name: int(torch.stack([one.counts[name] for one in self._waiting]).sum()) for name in names}
        counts["num_utterances"] = sum(len(one.ids) for one in self._waiting)
        parts = ranks.gather((own, counts))
        losses = torch.stack([part for part, _ in parts]).sum(0).float()
        self._check(losses)
        for _, numbers in parts:
            self._progress.num_utterances += numbers.pop("num_utterances")
            for name, number in numbers.items():
                self._progress.counts[name] = self._progress.counts.get(name, 0) + number
        self.epoch_losses.extend(losses.tolist())
        self._waiting.clear()
        self._last = float(losses.mean())
        return self._last

    def _check(self, losses: Tensor) -> None:
        for waiting, loss in zip(self._waiting, losses, strict=True):
            if not torch.isfinite(loss):
                ids = [one for part in ranks.gather(waiting.ids) for one in part]
                raise ValueError(
                    f"the loss or its gradient became {loss.item()} at iteration {waiting.iteration}, on the utterances "
                    f"{', '.join(ids)}. Look at them; if they are sound, lower trainer.optimizer.lr or "
                    "trainer.grad_clip, or set trainer.precision=fp32. The checkpoints from before are whole"
                )

    def epoch_mean(self) -> float:
        """Mean loss since the last call."""
        mean = sum(self.epoch_losses) / max(1, len(self.epoch_losses))
        self.epoch_losses.clear()
        return mean
