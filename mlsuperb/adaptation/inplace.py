"""Modules that do more than they did, where they stand: an instance's class is changed to a subclass made for it.

Unlike a wrapper this leaves the state-dict keys of the base as they are, and unlike a hook it is part of the block's
output for whoever records hidden states. The changed modules can be copied; like the models' own weight norms they
cannot be pickled, state dicts can.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def change_class(module: nn.Module, change: type[nn.Module]) -> None:
    """Put `change` (a class whose `forward` calls `super().forward`) in front of the class of `module`."""
    kind: Any = type(module)
    original, changes = getattr(kind, "original", kind), getattr(kind, "changes", ())
    module.__class__ = _subclass(original, (change, *changes))


@cache
def _subclass(original: type[nn.Module], changes: tuple[type[nn.Module], ...]) -> type[nn.Module]:
    name = "".join(change.__name__ for change in changes) + original.__name__
    return type(name, (*changes, original), {"original": original, "changes": changes, "__module__": __name__})


class WithBottleneck(nn.Module):
    """A residual bottleneck on the output, or on its first element: y + bottleneck(y)."""

    bottleneck: nn.Module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        if isinstance(output, Tensor):
            return output + self.bottleneck(output)
        return (output[0] + self.bottleneck(output[0]), *output[1:])


class BesideBottleneck(nn.Module):
    """A bottleneck that reads what the module reads, its output added to the module's."""

    bottleneck: nn.Module

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = super().forward(values)
        return output + self.bottleneck(values)


class WithExperts(nn.Module):
    """What a mixture of low-rank updates makes of the input of a linear layer, added to its output."""

    experts: nn.Module

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = super().forward(values)
        return output + self.experts(values)


class Checkpointed(nn.Module):
    """Gradient checkpointing, without reentrance: with it WavLM's recomputation never ends. Where no gradient will come by it
    does nothing, since it would keep its input alive."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled() and any(getattr(one, "requires_grad", False) for one in (*args, *self.parameters())):
            return checkpoint(super().forward, *args, use_reentrant=False, **kwargs)
        return super().forward(*args, **kwargs)
