"""BitFit (Ben Zaken et al., arXiv 2106.10199): only biases are trained."""

from __future__ import annotations

from mlsuperb.adaptation.base import Adaptation, train_only
from mlsuperb.upstreams.base import Stacked


class BitFit(Adaptation):
    """Train every bias of the model, those of norms included; everything else stays as it is."""

    def apply(self, model: Stacked) -> list[str]:
        """See `Adaptation.apply`.

        Raises:
            ValueError: the model has no bias.
        """
        trained = [name for name, _ in model.named_parameters() if name.rpartition(".")[2] == "bias"]
        if not trained:
            raise ValueError(
                f"adaptation=bitfit trains biases, but this model ({type(model).__name__}) has none. Choose another upstream, "
                "or adaptation=frozen."
            )
        return train_only(model, trained)
