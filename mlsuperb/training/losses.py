"""Reading the losses of a training without making the device wait for it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mlsuperb.runtime import ranks
from mlsuperb.runtime.messages import some
from mlsuperb.training.progress import Progress
from mlsuperb.training.trainable import Batch
from mlsuperb.types import Loss

WHAT_HELPS = (
    "Look at them; if they are sound, lower trainer.optimizer.lr or trainer.grad_clip, or set trainer.precision=fp32"
)
INTACT = "The checkpoints from before are intact"
log = logging.getLogger(__name__)


def count_skipped(progress: Progress, ids: Iterable[str], *, limit: int) -> None:
    """Count an update that was skipped for want of a finite loss and gradient; `ids` are its examples.

    Raises:
        ValueError: there are more than `limit` (`trainer.max_skipped_steps`).
    """
    progress.counts["skipped_steps"] = skipped = progress.counts.get("skipped_steps", 0) + 1
    where = f"after iteration {progress.iteration}, on the examples {', '.join(ids)}"
    if skipped > limit:
        raise ValueError(
            f"the loss or its gradient was not finite in {skipped} updates, more than trainer.max_skipped_steps={limit} "
            f"allows, the last of them {where}. {WHAT_HELPS}. {INTACT}"
        )
    log.warning("skipped update %d of at most %d without a finite loss and gradient: %s", skipped, limit, where)


def refuse_not_finite(ids: Iterable[str]) -> None:
    """Refuse a validation in which some utterances have no finite loss: epochs could not be compared. All ranks call it.

    Args:
        ids: of this rank's utterances without one.

    Raises:
        ValueError: there are some on any rank; names them.
    """
    if found := sorted(name for part in ranks.gather(list(ids)) for name in part):
        raise ValueError(
            f"the loss of the validation is not finite on {some(found)}. {WHAT_HELPS}, or take them out of the data. {INTACT}"
        )


def refuse_no_result(figures: Mapping[str, float]) -> None:
    """
    Raises:
        ValueError: a figure of a validation is not finite; names it.
    """
    if wrong := [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]:
        raise ValueError(f"the validation has no finite result: {', '.join(wrong)}. {WHAT_HELPS}. {INTACT}")


class _Waiting(NamedTuple):
    """One iteration: what this rank adds to the loss of the batch, and of which of its examples."""

    iteration: int
    ids: tuple[str, ...]
    loss: Tensor
    sums: Mapping[str, Tensor]  # counts (), rates (2,)
    norm: Tensor | None = None


class PendingLosses:
    """Losses of a turn that have not been looked at yet: reading one makes the host wait for the device, so they are read in
    groups, and always before anything is saved. On a CPU nothing waits, and every loss is checked at once. Where a batch is
    dealt out among ranks, its loss is known when they are read together: all ranks call everything here at the same places.

    Attributes:
        epoch_losses: those read since the epoch began.
        epoch_rates: the sums of `Loss.rates` since then.
    """

    def __init__(self, progress: Progress, *, eager: bool) -> None:
        self._progress, self._eager = progress, eager and ranks.world() == 1
        self._waiting: list[_Waiting] = []
        self._last: dict[str, float] = {}
        self.epoch_losses: list[float] = []
        self.epoch_rates: dict[str, Tensor] = {}

    def add(self, iteration: int, batch: Batch, result: Loss, *, share: float | Tensor) -> None:
        """Remember the loss of an iteration, of whose batch this rank's part is `share`."""
        rates = {name: torch.stack([*map(torch.as_tensor, pair)]).detach() for name, pair in result.rates.items()}
        one = _Waiting(iteration, batch.ids, result.loss.detach() * share, {**result.counts, **rates})
        self._waiting.append(one if batch.share else one._replace(ids=(), sums={}))
        if self._eager and not torch.isfinite(result.loss):
            self.flush()

    def add_gradient_norm(self, norm: Tensor) -> None:
        """A finite loss can still have a gradient that is not; it counts with the loss it belongs to."""
        last = self._waiting.pop()
        self._waiting.append(last._replace(loss=last.loss + 0 * norm.detach(), norm=norm.detach()))
        if self._eager and not torch.isfinite(norm):
            self.flush()

    def drop_unless_finite(self, num: int) -> list[str] | None:
        """Forget the last `num` iterations and return the names of their examples, if a loss or a gradient of theirs is not
        finite on any rank. Makes the host wait for the device."""
        finite = bool(torch.isfinite(torch.stack([one.loss for one in self._waiting[-num:]])).all())
        if all(ranks.gather(finite)):
            return None
        dropped, self._waiting[-num:] = self._waiting[-num:], []
        return [name for part in ranks.gather([one.ids for one in dropped]) for ids in part for name in ids]

    def flush(self) -> dict[str, float]:
        """Read what is waiting; returns the means of `loss`, `gradient_norm` and each of `Loss.rates`.

        Raises:
            ValueError: a loss is not finite; names the batch.
        """
        if not self._waiting:
            return self._last
        own = torch.stack([one.loss for one in self._waiting]).double().cpu()
        parts = ranks.gather((own, _sums(one.sums for one in self._waiting)))
        losses = torch.stack([part for part, _ in parts]).sum(0).float()
        self._check(losses)
        sums = _sums(part for _, part in parts)
        for name, number in sums.items():
            if number.ndim == 0:
                self._progress.counts[name] = self._progress.counts.get(name, 0) + int(number)
        rates = {name: pair for name, pair in sums.items() if pair.ndim}
        self.epoch_rates = _sums((self.epoch_rates, rates))
        self.epoch_losses.extend(losses.tolist())
        norms = [one.norm for one in self._waiting if one.norm is not None]
        norm = {"gradient_norm": float(torch.stack(norms).mean())} if norms else {}
        self._waiting.clear()
        self._last = {"loss": float(losses.mean()), **norm, **_quotients(rates)}
        return self._last

    def _check(self, losses: Tensor) -> None:
        for waiting, loss in zip(self._waiting, losses, strict=True):
            if not torch.isfinite(loss):
                ids = [one for part in ranks.gather(waiting.ids) for one in part]
                raise ValueError(
                    f"the loss or its gradient became {loss.item()} at iteration {waiting.iteration}, on the examples "
                    f"{', '.join(ids)}. {WHAT_HELPS}; or skip a few such updates (+trainer.max_skipped_steps=10). {INTACT}"
                )

    def end_epoch(self) -> dict[str, float]:
        """Means of `loss` and of each of `Loss.rates` since the last call; of nothing, if nothing was trained."""
        num, rates = len(self.epoch_losses), _quotients(self.epoch_rates)
        loss = {"loss": sum(self.epoch_losses) / num} if num else {}
        self.epoch_losses.clear()
        self.epoch_rates = {}
        return loss | rates


def share_of(batch: Batch, result: Loss) -> float | Tensor:
    """How much this rank's loss of a batch counts in the mean over the whole batch; all ranks have to call it."""
    if result.weight is None:
        return batch.share
    weight = result.weight.detach().float() * (batch.share > 0)
    return weight / ranks.total(weight).clamp(min=torch.finfo(weight.dtype).tiny)


def _sums(numbers: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The sum of each name's numbers, on the host."""
    found: dict[str, list[Tensor]] = {}
    for one in numbers:
        for name, number in one.items():
            found.setdefault(name, []).append(number)
    return {name: torch.stack(several).sum(0, dtype=torch.double).cpu() for name, several in found.items()}


def _quotients(rates: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(total / num) for name, (total, num) in rates.items() if num}
