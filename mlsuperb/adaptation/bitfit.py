"""BitFit (Ben Zaken et al., arXiv 2106.10199): only biases are trained."""

from __future__ import annotations

from mlsuperb.adaptation.base import Adaptation
from mlsuperb.upstreams.base import Upstream


class BitFit(Adaptation):
    """Train every bias of the upstream, those of norms included; everything else stays as it is."""

    def apply(self, upstream: Upstream) -> list[str]:
        """See `Adaptation.apply`.

        Raises:
            ValueError: the upstream has no bias.
        """
        trained = [name for name, _ in upstream.named_parameters() if name.rpartition(".")[2] == "bias"]
        if not trained:
            raise ValueError(
                f"adaptation=bitfit trains biases, but this upstream ({type(upstream).__name__}) has none. Choose "
                "another upstream, or adaptation=frozen."
            )
        upstream.requires_grad_(False)
        for name in trained:
            upstream.get_parameter(name).requires_grad_(True)
        return trained
