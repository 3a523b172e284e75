"""What every adaptation offers: it decides what of an upstream is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mlsuperb.upstreams.base import Upstream


class Adaptation(ABC):
    """A transformation of an upstream."""

    @abstractmethod
    def apply(self, upstream: Upstream) -> list[str]:
        """Changes `upstream` in place, sets `requires_grad` of all its parameters, and returns the names (as in
        `upstream.named_parameters()`) of those that are trained."""
