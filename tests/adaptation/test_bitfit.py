from __future__ import annotations

import pytest
import torch

from mlsuperb.adaptation.bitfit import BitFit
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.random_hubert import RandomHubert


def test_biases_and_nothing_else_get_a_gradient() -> None:
    upstream = RandomHubert(num_blocks=2)
    trained = BitFit().apply(upstream)
    assert len(trained) > 20
    features = upstream.train()(torch.randn(2, 3200), torch.tensor([3200, 2000]))
    sum(layer_BFD.square().sum() for layer_BFD in features.layers).backward()
    moved = {name for name, parameter in upstream.named_parameters() if parameter.grad is not None}
    assert moved == set(trained) == {name for name, _ in upstream.named_parameters() if name.endswith(".bias")}


def test_an_upstream_without_biases_is_refused() -> None:
    with pytest.raises(ValueError, match=r"this model \(Fbank\) has none\. Choose .* adaptation=frozen"):
        BitFit().apply(Fbank())
