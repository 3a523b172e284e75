"""Nothing of the upstream is trained: ML-SUPERB's own setting."""

from __future__ import annotations

from mlsuperb.adaptation.base import Adaptation
from mlsuperb.upstreams.base import Upstream


class Frozen(Adaptation):
    """The upstream stays as it is; only featurizer and head learn."""

    def apply(self, upstream: Upstream) -> list[str]:
        """Takes the gradient from every parameter; returns no name."""
        upstream.requires_grad_(False)
        return []
