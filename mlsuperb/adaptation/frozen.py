"""Nothing of the upstream is trained: ML-SUPERB's own setting."""

from __future__ import annotations

from mlsuperb.adaptation.base import Adaptation, train_only
from mlsuperb.upstreams.base import Stacked


class Frozen(Adaptation):
    """The upstream stays as it is; only featurizer and head learn."""

    def apply(self, model: Stacked) -> list[str]:
        """Takes the gradient from every parameter; returns no name."""
        return train_only(model, ())
