"""Reading the losses of a training without making the device wait for it."""

from __future__ import annotations

import torch
from torch import Tensor

from mlsuperb.training.progress import Progress
from mlsuperb.types import Loss


class PendingLosses:
    """Losses that have not been looked at yet: reading one makes the host wait for the device, so they are read in groups,
    and always before anything is saved. On a CPU nothing waits, and every loss is checked at once."""

    def __init__(self, progress: Progress, *, eager: bool) -> None:
        self._progress, self._eager = progress, eager
        self._waiting: list[tuple[int, tuple[str, ...], Tensor, dict[str, Tensor]]] = []
        self._last = float("nan")
        self.epoch_losses: list[float] = []

    def add(self, iteration: int, ids: tuple[str, ...], result: Loss) -> None:
        self._waiting.append((iteration, ids, result.loss.detach(), result.counts))
        if self._eager and not torch.isfinite(result.loss):
            self.flush()

    def add_gradient_norm(self, norm: Tensor) -> None:
        """A finite loss can still have a gradient that is not; it counts with the loss it belongs to."""
        iteration, ids, loss, counts = self._waiting.pop()
        self._waiting.append((iteration, ids, loss + 0 * norm.detach(), counts))
        if self._eager and not torch.isfinite(norm):
            self.flush()

    def flush(self) -> float:
        """Read what is waiting; returns its mean loss.

        Raises:
            ValueError: a loss is not finite; names the batch.
        """
        if not self._waiting:
            return self._last
        losses = torch.stack([loss for _, _, loss, _ in self._waiting]).float().cpu()
        for (iteration, ids, _, _), loss in zip(self._waiting, losses, strict=True):
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the loss or its gradient became {loss.item()} at iteration {iteration}, on the utterances "
                    f"{', '.join(ids)}. Look at them; if they are sound, lower trainer.optimizer.lr or "
                    "trainer.grad_clip, or set trainer.precision=fp32. The checkpoints from before are whole"
                )
        for name in self._waiting[0][3]:
            number = int(torch.stack([counts[name] for *_, counts in self._waiting]).sum())
            self._progress.counts[name] = self._progress.counts.get(name, 0) + number
        self.epoch_losses.extend(losses.tolist())
        self._waiting.clear()
        self._last = float(losses.mean())
        return self._last

    def epoch_mean(self) -> float:
        """Mean loss since the last call."""
        mean = sum(self.epoch_losses) / max(1, len(self.epoch_losses))
        self.epoch_losses.clear()
        return mean
