"""One turn of the updates of a training: an ordinary training has one, an adversarial one two."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from accelerate.optimizer import AcceleratedOptimizer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mlsuperb.training.distributed import gathered, load_optimizer
from mlsuperb.training.losses import PendingLosses
from mlsuperb.training.parameters import Parameters

# an update may be left out, and the schedule goes on
warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a turn moves, with which optimiser and schedule, and its losses.

    Args:
        name: as in `Trainable.turns`; "" of an ordinary training.
        trained: the parameters that it moves.
        others: trained parameters that it leaves as they are.
    """

    name: str
    trained: list[nn.Parameter]
    others: list[nn.Parameter]
    optimizer: AcceleratedOptimizer
    scheduler: LambdaLR
    losses: PendingLosses

    @property
    def moves(self) -> bool:
        """Whether there is something to move now: all of it may be held (`trainer.unfreeze_after`)."""
        return any(parameter.requires_grad for parameter in self.trained)

    def read(self) -> dict[str, float]:
        """Curves: what `PendingLosses.flush` finds."""
        return {self._curve(name): value for name, value in self.losses.flush().items()}

    def learning_rates(self) -> dict[str, float]:
        """Curves: the learning rate of each group of parameters."""
        prefixes = [group["prefix"] for group in self.optimizer.param_groups]
        rates = zip(prefixes, self.scheduler.get_last_lr(), strict=True)
        return {self._curve("lr", prefix): float(rate) for prefix, rate in rates}

    def end_epoch(self) -> dict[str, float]:
        """What an epoch's history says of it: `train_loss` and `train_RATE`."""
        return {self._key(f"train_{name}"): value for name, value in self.losses.end_epoch().items()}

    def state(self) -> dict[str, Any]:
        """For a checkpoint, which rank 0 writes; all ranks have to call it."""
        found = {
            "optimizer": gathered(self.optimizer.state_dict()),
            "scheduler": self.scheduler.state_dict(),
            "epoch_losses": self.losses.epoch_losses,
            "epoch_rates": self.losses.epoch_rates,
        }
        return {self._key(name): value for name, value in found.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        load_optimizer(self.optimizer, state[self._key("optimizer")])
        self.scheduler.load_state_dict(state[self._key("scheduler")])
        self.losses.epoch_losses[:] = state[self._key("epoch_losses")]
        self.losses.epoch_rates = dict(state.get(self._key("epoch_rates"), {}))  # not in checkpoints of version 1

    def _curve(self, *names: str) -> str:
        return "/".join(filter(None, ("train", *names, self.name)))

    def _key(self, name: str) -> str:
        return f"{name}_{self.name}" if self.name else name


def make_turn(
    name: str,
    mine: Parameters,
    trained: Parameters,
    optimizer: Optimizer,
    accelerator: Any,
    *,
    factor: Callable[[int], float],
    losses: PendingLosses,
) -> Turn:
    """A turn that trains `mine`, of all that are `trained`; `factor` is that on its learning rates at an update."""
    return Turn(
        name=name,
        trained=[parameter for group in optimizer.param_groups for parameter in group["params"]],
        others=[parameter for one, parameter in trained.items() if one not in mine],
        scheduler=LambdaLR(optimizer, factor),
        optimizer=accelerator.prepare_optimizer(optimizer),
        losses=losses,
    )
