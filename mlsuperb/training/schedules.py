"""Learning rates over training: each schedule is a factor on the optimiser's rate, a function of the update alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field, PositiveInt


class Schedule(Protocol):
    """Factor on the learning rate at `update` (from 0) of `num_updates`."""

    def __call__(self, update: int, num_updates: int) -> float: ...


@dataclass(kw_only=True)
class Constant:
    """The same rate throughout, as ML-SUPERB 1.0 trains."""

    def __call__(self, update: int, num_updates: int) -> float:
        return 1.0


@dataclass(kw_only=True)
class OneCycle:
    """Linear warm-up to the full rate, then a cosine down to `final` of it (Smith and Topin, 2018, arXiv 1708.07120).

    Args:
        warmup: share of the updates spent warming up.
        final: the last factor.
    """

    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    final: Annotated[float, Field(ge=0, le=1)] = 0.01

    def __call__(self, update: int, num_updates: int) -> float:
        warmup_updates = max(1, round(self.warmup * num_updates))
        if update < warmup_updates:
            return (update + 1) / warmup_updates
        done = min(1.0, (update - warmup_updates) / max(1, num_updates - warmup_updates))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


@dataclass(kw_only=True)
class Warmup:
    """Linear warm-up over `updates`, then a fall with the inverse square root of the update: ESPnet's `WarmupLR`, whose
    full rate is the optimiser's (Noam without the model size, arXiv 1706.03762 section 5.3)."""

    updates: PositiveInt

    def __call__(self, update: int, num_updates: int) -> float:
        step = update + 1
        return self.updates**0.5 * min(step**-0.5, step * self.updates**-1.5)


@dataclass(kw_only=True)
class LinearDecay:
    """Linear warm-up from 0 to the full rate, then a line down to `final` of it: fairseq's `polynomial_decay` with power 1, with
    which wav2vec 2.0 and HuBERT were trained. As there, the first update has the rate 0.

    Args:
        warmup: share of the updates spent warming up.
        final: the factor at the end of the training.
    """

    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.08
    final: Annotated[float, Field(ge=0, le=1)] = 0.0

    def __call__(self, update: int, num_updates: int) -> float:
        warmup_updates = round(self.warmup * num_updates)
        if update < warmup_updates:
            return update / warmup_updates
        left = max(0.0, 1 - (update - warmup_updates) / max(1, num_updates - warmup_updates))
        return self.final + (1 - self.final) * left


@dataclass(kw_only=True)
class ExponentialDecay:
    """Linear warm-up to the full rate, that rate for a while, then an exponential down to `final` of it: how the HuBERTs of
    DiscoPhon were continued (arXiv 2603.18612: 600 + 9,400 + 10,000 updates, down to 1 %).

    Args:
        warmup: share of the updates spent warming up.
        flat: share of the updates at the full rate.
        final: the factor at the end of the training.
    """

    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    flat: Annotated[float, Field(ge=0, lt=1)] = 0.47
    final: Annotated[float, Field(gt=0, le=1)] = 0.01

    def __call__(self, update: int, num_updates: int) -> float:
        rising, falling = round(self.warmup * num_updates), round((self.warmup + self.flat) * num_updates)
        if update < rising:
            return (update + 1) / rising
        done = max(0.0, (update - falling) / max(1, num_updates - falling))
        return float(self.final ** min(1.0, done))

    @classmethod
    def problems(cls, *, warmup: float = 0.03, flat: float = 0.47, **_: float) -> list[str]:
        """Whether there are updates left for the decay."""
        if warmup + flat < 1:
            return []
        return [
            f"trainer.schedule: warmup={warmup:g} and flat={flat:g} leave no updates for the decay: give less than 1 in all"
        ]


@dataclass(kw_only=True)
class StepDecay:
    """A rate that is multiplied by `factor` after every `updates` updates: HiFi-GAN's `ExponentialLR`, whose steps are epochs.

    Args:
        factor: of each step.
        updates: between one step and the next.
    """

    factor: Annotated[float, Field(gt=0, le=1)] = 0.999
    updates: PositiveInt

    def __call__(self, update: int, num_updates: int) -> float:
        return self.factor ** (update // self.updates)
